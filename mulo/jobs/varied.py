"""In what the jobs of a sweep differ, told from their configurations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mulo.config import Config, to_dict

_TOLD_OTHERWISE = ("mode", "name", "scale", "seed", "run_dir", "logger", "distributed", "plan", "report", "sweep")
_COLUMNS = {
    *("task.name", "task.parametrization", "data.name"),
    *(f"evaluation.{key}" for key in ("widths", "depths", "steps", "horizons", "seeds", "test_points")),
    *(f"evaluation.task.{key}" for key in ("name", "parametrization", "width", "widths", "depth", "depths")),
    *("evaluation.data.name", "coordinate_check.widths", "coordinate_check.depths"),
}
_SIZES = {"task.width", "task.widths", "task.depth", "task.depths"}
"""Where nothing is meta-trained, these are columns too."""
_CONTESTANTS_SHARE = ("evaluation.baselines.",)


def varied(configs: Sequence[Config], setting: str | None) -> list[str]:
    """Keys in which jobs of one contestant differ, without those that others imply.

    Args:
        configs: of all jobs.
        setting: the key that the sweep's picture is over, which comes first.
    """
    flat = [flattened(config) for config in configs]
    keys = dict.fromkeys(key for own in flat for key in own if _may_vary(key, configs))
    first = [setting] if setting in keys else []
    known: list[tuple[Any, ...]] = [_columns(config) for config in configs]
    found = []
    for key in [*first, *(key for key in keys if key not in first)]:
        values = [own.get(key) for own in flat]
        if not _implied(known, values):
            found.append(key)
            known = [(*before, value) for before, value in zip(known, values, strict=True)]
    return found


def _may_vary(key: str, configs: Sequence[Config]) -> bool:
    if key.split(".")[0] in _TOLD_OTHERWISE or key in _COLUMNS or key.startswith(_CONTESTANTS_SHARE):
        return False
    return key not in _SIZES or all(config.mode == "main" for config in configs)


def _columns(config: Config) -> tuple[Any, ...]:
    """What the columns of results.csv tell of a job."""
    own = config.evaluated
    return config.contestant, config.parametrization, own.task.name, own.data.name, own.parametrization


def _implied(known: Sequence[Any], values: Sequence[Any]) -> bool:
    return len(set(zip(known, values, strict=True))) == len(set(known))


def flattened(config: Config) -> dict[str, str]:
    """All settings by dotted key, as text; of places on disk the last part alone."""
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
