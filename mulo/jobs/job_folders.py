"""The directories of jobs: method, θ, cost and outcome of each; without JAX."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mulo import checkpoint
from mulo.config import Config, parse_group
from mulo.errors import ConfigError, MuloError
from mulo.evaluation.results import RESULTS
from mulo.jobs.varied import flattened
from mulo.process import preparation_time, run_directory, status
from mulo.reporting import metrics
from mulo.reporting.record import Job, Preparation

TABLE, CHECK = "results.csv", "coordinate_check.csv"


class JobFolder(NamedTuple):
    """A job's directory with its configuration."""

    folder: Path
    config: Config


def jobs_of(folder: Path) -> list[JobFolder]:
    """The jobs whose directories lie in `folder`, by name.

    Raises:
        ConfigError: there are none, one is not readable, or they belong to several sweeps.
    """
    folders = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not folders:
        raise ConfigError.value(
            "report.of", folder, "a record, or a directory that holds the run directories of a sweep's jobs",
            "There is no config.yaml in any folder in it. Sweeps write into runs/<sweep>-<scale>/.",
        )  # fmt: skip
    jobs = [JobFolder(path, run_directory.read(path / "config.yaml")) for path in folders]
    sweeps = dict.fromkeys((job.config.sweep.name, job.config.scale) for job in jobs)
    if len(sweeps) > 1:
        names = ", ".join(f"{name or 'no sweep'} ({scale})" for name, scale in sweeps)
        raise ConfigError.value(
            "report.of", folder, "the jobs of one sweep at one scale", f"Here are those of {names}."
        )
    return jobs


def settings_of(config: Config, keys: Sequence[str]) -> dict[str, str]:
    """The values that a job has of these keys, as text."""
    flat = flattened(config)
    return {key: flat.get(key, "") for key in keys}


def described(job: JobFolder, keys: Sequence[str]) -> Job:
    """What a record holds on a job."""
    config, last, meta = job.config, status.read(job.folder), _checkpoint(job)
    plain = Job(
        job.folder.name,
        config.method,
        config.seed,
        settings_of(config, keys),
        _guessed(job.folder),
        trained_widths=_trained(config, meta),
        preparation=_preparation(job),
        theta=meta.digests.get("theta") if meta else None,
    )
    if last is None:
        return plain
    same = ("status", "starts", "wall_seconds", "first_started", "ended", "provenance")
    reason = without_paths(last.reason) if last.reason else None
    return replace(plain, reason=reason, **{name: getattr(last, name) for name in same})


def _guessed(folder: Path) -> str:
    done = next(folder.rglob(TABLE), None) or next(folder.glob(CHECK), None)
    return "finished" if done else "unfinished"


def _checkpoint(job: JobFolder) -> checkpoint.Meta | None:
    """The metadata of θ's checkpoint, where it can still be read."""
    shared = job.folder / "theta.json"
    with suppress(MuloError):
        if job.config.checkpoint is not None:
            return checkpoint.read_meta(job.config.checkpoint)
        if shared.exists():
            return checkpoint.latest(_theta_folder(job, json.loads(shared.read_text("utf-8"))))
        return checkpoint.latest(job.folder)
    return None


def _trained(config: Config, meta: checkpoint.Meta | None) -> dict[str, list[int]]:
    """Widths by architecture; none of a baseline, or of a θ that was not meta-trained."""
    task = config.task
    if config.mode != "main":
        if meta is None:
            return {}
        task = parse_group("task", meta.config["task"])
    elif not config.optimizer.learned or config.recipe.outer_steps == 0:
        return {}
    return {part.architecture: part.all_widths for part in task.parts}


def _preparation(job: JobFolder) -> Preparation:
    """Of a meta-training that jobs share, `preparation_time` holds the tuning that followed it alone."""
    shared, here = job.folder / "theta.json", preparation_time.read(job.folder)
    settings = _tried(job.folder / "tuning.csv")
    if shared.exists():
        noted = json.loads(shared.read_text("utf-8"))
        name, seconds = Path(noted["directory"]).name, noted["seconds"] + here
        return _meta_training(
            job, Preparation("meta-training", seconds, name, settings=settings), _theta_folder(job, noted)
        )
    if job.config.mode == "main" and job.config.optimizer.learned:
        return _meta_training(job, Preparation("meta-training", here or None, settings=settings), job.folder)
    return Preparation() if settings is None else Preparation("tuning", here, settings=settings)


def _tried(tuning: Path) -> int | None:
    """How many settings were tried, over all networks; None where none were."""
    if not tuning.exists():
        return None
    table = RESULTS.read(tuning, settings=None)
    return len(table.drop_duplicates(["task", "width", *(name for name in table if name not in RESULTS.columns)]))


def _theta_folder(job: JobFolder, noted: Mapping[str, Any]) -> Path:
    """θ's directory is noted relative to where the job ran, some folder above its own."""
    above = [parent / noted["directory"] for parent in job.folder.absolute().parents]
    return next((path for path in above if path.exists()), Path(noted["directory"]))


def _meta_training(job: JobFolder, preparation: Preparation, folder: Path) -> Preparation:
    path = folder / "metrics.jsonl"
    rows = metrics.read(path) if path.exists() else []
    losses = [row["validation_loss"] for row in rows if row.get("validation_loss") is not None]
    best = min(losses, default=None)
    return replace(preparation, outer_steps=job.config.recipe.outer_steps, validation_loss=best)


def without_paths(text: str) -> str:
    """The text with absolute paths cut down to their last part."""
    return re.sub(r"(?<![\w.…])(?:~|[A-Za-z]:)?/(?:[^\s/'\":;,()]+/)+", "…/", text)
