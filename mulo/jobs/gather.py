"""From the directory of a sweep's jobs to its record; without JAX, and without a place of this machine in it."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mulo.config import Config
from mulo.errors import ConfigError, MuloError
from mulo.evaluation.coordinate_rows import read_rows
from mulo.evaluation.results import CurveKey, Result, read_csv, read_curves
from mulo.jobs.varied import flattened, varied
from mulo.process import preparation_time, run_directory, status
from mulo.reporting import metrics
from mulo.reporting.plots import running_median
from mulo.reporting.record import Job, Loss, Movement, Preparation, Record

POINTS = 200
"""Of a stored curve, at most."""


class Found(NamedTuple):
    """A job's directory with its configuration."""

    folder: Path
    config: Config


def jobs_of(folder: Path) -> list[Found]:
    """The jobs whose directories lie in `folder`, by name.

    Raises:
        ConfigError: there are none, one is not readable, or they belong to several sweeps.
    """
    places = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not places:
        raise ConfigError.value(
            "report.of", folder, "a record, or a directory that holds the run directories of a sweep's jobs",
            "There is no config.yaml in any folder in it. Sweeps write into runs/<sweep>-<scale>/.",
        )  # fmt: skip
    found = [Found(place, run_directory.read(place / "config.yaml")) for place in places]
    sweeps = dict.fromkeys((job.config.sweep.name, job.config.scale) for job in found)
    if len(sweeps) > 1:
        names = ", ".join(f"{name or 'no sweep'} ({scale})" for name, scale in sweeps)
        raise ConfigError.value(
            "report.of", folder, "the jobs of one sweep at one scale", f"Here are those of {names}."
        )
    return found


def gather(folder: Path) -> Record:
    """Everything that a record keeps of the jobs in `folder`; raises MuloError where files contradict each other."""
    found = jobs_of(folder)
    configs = [job.config for job in found]
    newest = max(found, key=lambda job: ((status.read(job.folder) or _NEVER).started, job.folder.name)).config
    keys = varied(configs, newest.sweep.setting)
    losses, curves = _losses(found, keys)
    movements = [row for job in found for row in _movements(job, keys)]
    if losses and movements:
        raise MuloError(f"{folder} holds evaluations and coordinate checks: make a record of each, in two folders.")
    return Record(
        sweep=newest.sweep,
        scale=newest.scale,
        date=datetime.now(UTC).date().isoformat(),
        varied=keys,
        tolerance=newest.coordinate_check.tolerance,
        jobs=[_job(job, keys) for job in found],
        losses=losses,
        movements=movements,
        curves=curves,
    )


_NEVER = status.Status("", "", None, None, 0, 0.0, "", "", "", None, "")


def _settings(config: Config, keys: Sequence[str]) -> dict[str, str]:
    flat = flattened(config)
    return {key: flat.get(key, "") for key in keys}


def _losses(found: Sequence[Found], keys: Sequence[str]) -> tuple[list[Loss], dict[str, np.ndarray]]:
    """All rows and thinned curves. What jobs of several seeds trained alike, as baselines beside θ, is kept once."""
    losses: dict[Any, tuple[Loss, Found]] = {}
    curves: dict[str, np.ndarray] = {}
    for job in found:
        for place in _evaluations(job):
            stored = read_curves(place / "curves.npz") if (place / "curves.npz").exists() else {}
            rows = [_loss(job.config, row, keys, stored) for row in read_csv(place / "results.csv")]
            rows = [row for row in rows if _is_new(losses, row, job)]
            losses_here = {row.result.key: row.key for row in rows}
            for key, values in stored.items():
                curves |= _thinned(key, values, losses_here)
    return [row for row, _ in losses.values()], curves


def _is_new(losses: dict[Any, tuple[Loss, Found]], row: Loss, job: Found) -> bool:
    """Whether no other job has trained the same; notes that this one has."""
    own = row.contestant == job.config.contestant
    seed = row.meta_seed if own else None
    result = row.result._replace(train_loss=0.0, test_loss=0.0, status="")
    _, first = losses.setdefault((row.data, seed, tuple(row.settings.values()), result), (row, job))
    if own and first is not job:
        raise MuloError(
            f"Two jobs hold results of {row.contestant} with meta-seed {seed} on the same networks, and nothing that a "
            f"record tells apart differs: {first.folder.name} and {job.folder.name}. Is one left over from before the "
            "sweep was changed? Move it to another folder."
        )
    return first is job


def _evaluations(job: Found) -> Iterator[Path]:
    yield from sorted(path.parent for path in job.folder.glob("**/results.csv"))


def _loss(config: Config, row: Result, keys: Sequence[str], curves: Mapping[str, np.ndarray]) -> Loss:
    own = config.evaluated
    part = next((part for part in own.task.parts if part.architecture == row.task), own.task.parts[0])
    result = row._replace(status=without_places(row.status))
    initial = float(curves[row.key][row.seed, 0]) if row.key in curves else math.nan
    return Loss(result, own.data_of(part).name, config.seed, _settings(config, keys), initial)


def _thinned(key: str, values: np.ndarray, names: dict[str, str]) -> dict[str, np.ndarray]:
    """One array of curves.npz under its name in the record."""
    base, _, kind = key.partition("/test")
    if base not in names:
        return {}
    name = names[base]
    if kind == "_steps":
        return {f"{name}/test_steps": values.astype(np.int32)}
    if key.endswith("/test"):
        return {f"{name}/test": values.astype(np.float32)}
    steps = CurveKey.parse(base).steps
    points = np.unique(np.linspace(0, values.shape[1] - 1, min(POINTS, values.shape[1])).round().astype(np.int32))
    return {name: smoothed(values)[:, points].astype(np.float32), f"n{steps}/steps": points + 1}


def smoothed(curves: np.ndarray) -> np.ndarray:
    """Running medians of [seeds, steps] over about a fiftieth of the steps; nan from a seed's divergence on."""
    alive = np.logical_and.accumulate(np.isfinite(curves), axis=1)
    window = curves.shape[1] // 100 * 2 + 1
    return np.stack([running_median(row, window) for row in np.where(alive, curves, np.nan)])


def _movements(job: Found, keys: Sequence[str]) -> list[Movement]:
    path, config = job.folder / "coordinate_check.csv", job.config
    if not path.exists():
        return []
    part = config.task.parts[0]
    head = (config.contestant, part.architecture, config.data_of(part).name, config.seed, _settings(config, keys))
    return [Movement(*head, row) for row in read_rows(path)]


def _job(job: Found, keys: Sequence[str]) -> Job:
    config, found = job.config, status.read(job.folder)
    plain = Job(job.folder.name, config.contestant, config.seed, _settings(config, keys), _guessed(job.folder))
    plain = replace(plain, trained_widths=_trained(config), preparation=_preparation(job))
    if found is None:
        return plain
    return replace(
        plain,
        status=found.status,
        reason=without_places(found.reason) if found.reason else None,
        starts=found.starts,
        wall_seconds=found.wall_seconds,
        first_started=found.first_started,
        ended=found.ended,
        provenance=found.provenance,
    )


def _guessed(folder: Path) -> str:
    done = next(folder.glob("**/results.csv"), None) or next(folder.glob("coordinate_check.csv"), None)
    return "finished" if done else "unfinished"


def _trained(config: Config) -> dict[str, list[int]]:
    learned = config.mode == "main" and config.optimizer.learned
    return {part.architecture: part.all_widths for part in config.task.parts} if learned else {}


def _preparation(job: Found) -> Preparation:
    tuning = job.folder / "tuning.csv"
    if tuning.exists():
        with tuning.open(newline="", encoding="utf-8") as file:
            settings = sum(1 for _ in csv.DictReader(file))
        return Preparation("tuning", preparation_time.read(job.folder), settings=settings)
    shared = job.folder / "theta.json"
    if shared.exists():
        said = json.loads(shared.read_text("utf-8"))
        name = Path(said["directory"]).name
        return _meta_training(job, Preparation("meta-training", said["seconds"], name), _theta_of(job, said))
    if job.config.mode == "main" and job.config.optimizer.learned:
        return _meta_training(job, Preparation("meta-training", preparation_time.read(job.folder) or None), job.folder)
    return Preparation()


def _theta_of(job: Found, said: dict[str, Any]) -> Path:
    """θ's directory is told relative to where the job ran, some folder above its own."""
    above = [place / said["directory"] for place in job.folder.absolute().parents]
    return next((place for place in above if place.exists()), Path(said["directory"]))


def _meta_training(job: Found, found: Preparation, folder: Path) -> Preparation:
    path = folder / "metrics.jsonl"
    rows = metrics.read(path) if path.exists() else []
    losses = [row["validation_loss"] for row in rows if row.get("validation_loss") is not None]
    best = min(losses, default=None)
    return replace(found, outer_steps=job.config.recipe.outer_steps, validation_loss=best)


def without_places(text: str) -> str:
    """The text with absolute paths cut down to their last part."""
    return re.sub(r"(?<![\w.…])(?:~|[A-Za-z]:)?/(?:[^\s/'\":;,()]+/)+", "…/", text)
