"""mode=export: the θ that a run hands on becomes two portable files, its arrays and a card (`mulo.weights`)."""

from pathlib import Path
from typing import Any

from rich.console import Console

from mulo import checkpoint, weights
from mulo.config import Config, to_dict
from mulo.errors import ConfigError
from mulo.process import preparation_time, status, writable

_DECIDES = ("seed", "state_dtype", "optimizer", "task", "data", "recipe")
"""Of a configuration, what decides θ: the card holds nothing else of it."""


def target(config: Config) -> Path:
    """The safetensors file to be written."""
    path = Path(str(config.export.output))
    return path if path.suffix == weights.SUFFIX else path.with_name(f"{path.name}{weights.SUFFIX}")


def check(config: Config) -> None:
    """Refuses a source that is portable already, results that are not there, and a target that cannot be written."""
    file = target(config)
    if (source := weights.find(str(config.checkpoint))) is not None:
        raise ConfigError.value("checkpoint", config.checkpoint, "a run directory", f"Copy {source} and its card.")
    for path in (file, weights.card_of(file)):
        if path.exists():
            raise ConfigError.value("export.output", file, "a new file", f"{path} exists.")
    if not file.absolute().parent.is_dir():
        allowed = "a file in an existing folder"
        raise ConfigError.value("export.output", file, allowed, f"{file.absolute().parent} does not exist.")
    if config.export.results is not None and not Path(config.export.results).is_file():
        raise ConfigError.value("export.results", config.export.results, "a results.csv", "There is no such file.")
    writable.check(file.absolute().parent, "export.output=<file>")


def export(config: Config, console: Console) -> int:
    """Writes both files; returns 0."""
    from mulo.weights import arrays

    loaded, file = checkpoint.load(str(config.checkpoint)), target(config)
    content = arrays.serialized(loaded.theta)
    card = _card(config, loaded.meta, weights.sha256(content))
    arrays.write(file, content, card)
    steps = f"outer step {card.step} of {card.config['recipe']['outer_steps']}"
    console.print(f"θ of {loaded.meta.optimizer.name} after {steps}: {file}, {len(content)} bytes, and its card.")
    return 0


def _card(config: Config, meta: checkpoint.Meta, sha256: str) -> weights.Card:
    run = _run_directory(meta.path)
    last = status.read(run) if run is not None else None
    return weights.Card(
        sha256=sha256,
        optimizer=to_dict(meta.optimizer),
        step=meta.step,
        config=_without_folders({key: meta.config[key] for key in _DECIDES if key in meta.config}),
        digests={"theta": meta.digests["theta"]},
        mulo_version=meta.mulo_version,
        core_hours=_core_hours(run, last),
        provenance=dict(last.provenance) if last else {},
        evaluation=_evaluation(config, run),
        loses=list(config.export.loses),
    )


def _run_directory(folder: Path) -> Path | None:
    """The run directory that keeps a checkpoint under checkpoints/<kind>/<step>."""
    above = folder.absolute().parents
    return above[2] if len(above) > 2 and above[1].name == "checkpoints" else None


def _core_hours(run: Path | None, last: status.Status | None) -> float | None:
    """Of a job of mode=main without its evaluation, where that was noted."""
    if run is None or last is None or "cores" not in last.provenance:
        return None
    seconds = last.wall_seconds if last.mode == "meta_train" else preparation_time.read(run)
    return round(seconds * last.provenance["cores"] / 3600, 3) or None


def _evaluation(config: Config, run: Path | None) -> list[dict[str, Any]]:
    """Mean final losses by method, network and steps; diverged trainings are counted and not in the means."""
    from mulo.evaluation.results import CONDITION, RESULTS, trainings

    given = config.export.results
    paths = [Path(given)] if given is not None else sorted((run / "evaluation").rglob("results.csv")) if run else []
    rows: list[dict[str, Any]] = []
    for path in paths:
        keys = ["method", "parametrization", *CONDITION]
        for values, part in trainings(RESULTS.read(path, settings=None)).groupby(keys, sort=False):
            finished = part[part.status == "finished"]
            means = {name: _rounded(finished[name].mean()) for name in ("train", "test")}
            rows.append(dict(zip(keys, values, strict=True)) | means | {"seeds": len(part), "finished": len(finished)})
    return rows


def _rounded(loss: float) -> float | None:
    return round(float(loss), 5) if loss == loss else None


def _without_folders(settings: Any) -> Any:
    """Absolute paths, as of data, cut down to their last part."""
    if isinstance(settings, dict):
        return {key: _without_folders(value) for key, value in settings.items()}
    return Path(settings).name if isinstance(settings, str) and settings.startswith("/") else settings
