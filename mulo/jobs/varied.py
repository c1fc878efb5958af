"""In what the configurations of a sweep's jobs differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mulo.config import Config, to_dict

_NO_COLUMNS = ("mode", "name", "scale", "seed", "run_dir", "logger", "distributed", "plan", "report", "export", "sweep")
_COLUMNS = {
    *("task.name", "task.parametrization", "data.name"),
    *(f"evaluation.{key}" for key in ("widths", "depths", "num_steps", "horizons", "seeds", "test_points")),
    *(f"evaluation.task.{key}" for key in ("name", "parametrization", "width", "widths", "depth", "depths")),
    *("evaluation.data.name", "coordinate_check.widths", "coordinate_check.depths"),
}
_SIZES = {"task.width", "task.widths", "task.depth", "task.depths"}
"""Where nothing is meta-trained, these are columns too."""
_OF_ALL_METHODS = ("evaluation.baselines.",)


def varied(configs: Sequence[Config], setting: str | None) -> list[str]:
    """Keys in which jobs of one method differ, without those that others imply.

    Args:
        configs: of all jobs.
        setting: the key that the sweep's picture is over, which comes first.
    """
    flat = [flattened(config) for config in configs]
    keys = dict.fromkeys(key for settings in flat for key in settings if _may_vary(key, configs))
    known: list[tuple[Any, ...]] = [_columns(config) for config in configs]
    varying = []
    for key in sorted(keys, key=lambda key: key != setting):
        values = [settings.get(key) for settings in flat]
        finer = [(*before, value) for before, value in zip(known, values, strict=True)]
        if len(set(finer)) > len(set(known)):  # otherwise what is known implies it
            varying.append(key)
            known = finer
    return varying


def _may_vary(key: str, configs: Sequence[Config]) -> bool:
    if key.split(".")[0] in _NO_COLUMNS or key in _COLUMNS or key.startswith(_OF_ALL_METHODS):
        return False
    return key not in _SIZES or all(config.mode == "main" for config in configs)


def _columns(config: Config) -> tuple[Any, ...]:
    """The columns of results.csv that a job's configuration decides."""
    evaluated = config.evaluated
    return config.method, config.parametrization, evaluated.task.name, evaluated.data.name, evaluated.parametrization


def flattened(config: Config) -> dict[str, str]:
    """All settings by dotted key, as text; of paths the last part alone."""
    return dict(_flat(to_dict(config), ""))


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return PurePath(value).name if "/" in value else value
    return json.dumps(value)
