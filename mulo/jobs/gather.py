"""From the directories of jobs to their record; without JAX, and without absolute paths in it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from mulo.config import Config
from mulo.errors import MuloError
from mulo.evaluation.coordinate_rows import CHANGES
from mulo.evaluation.results import CONDITION, RESULTS, curve_names, ordered, read_runs
from mulo.jobs.job_folders import CHECK, TABLE, JobFolder, described, settings_of, without_paths
from mulo.jobs.varied import varied
from mulo.process import status
from mulo.reporting.labels import THETA0
from mulo.reporting.plots import running_median
from mulo.reporting.record import Record
from mulo.reporting.record.contents import run_names

POINTS = 200
"""Of a stored curve, at most."""


def gather(jobs: Sequence[JobFolder]) -> Record:
    """The record of jobs; raises MuloError where files contradict each other."""
    newest = max(jobs, key=_started).config
    keys = varied([job.config for job in jobs], newest.sweep.setting)
    results, curves = _results(jobs, keys)
    changes = [table for job in jobs for table in _changes(job, keys)]
    if len(results) and changes:
        folder = jobs[0].folder.parent
        raise MuloError(f"{folder} holds evaluations and coordinate checks; expected jobs of one kind.")
    head = Record(newest.sweep, newest.scale, datetime.now(UTC).date().isoformat(), keys, 0.0, [])
    return replace(
        head,
        tolerance=newest.coordinate_check.tolerance,
        jobs=[described(job, keys) for job in jobs],
        results=results if len(results) else head.results,
        changes=pd.concat(changes, ignore_index=True) if changes else head.changes,
        curves=curves,
    )


def _started(job: JobFolder) -> tuple[str, str]:
    last = status.read(job.folder)
    return last.started if last else "", job.folder.name


def _prepared(config: Config) -> tuple[str, str]:
    """Methods of which every job has its own: the optimizer, and the θ that its meta-training began with."""
    return config.method, config.method + THETA0


def _results(jobs: Sequence[JobFolder], keys: Sequence[str]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """All rows and thinned curves. Trainings that jobs of several seeds share, as of baselines, are included once."""
    folders = [(number, path.parent) for number, job in enumerate(jobs) for path in sorted(job.folder.rglob(TABLE))]
    read = [_read(jobs[number].config, folder, keys) for number, folder in folders]
    tables = [
        part.assign(job=number, folder=i, prepared=part.method.isin(_prepared(jobs[number].config)))
        for i, ((number, _), (part, _)) in enumerate(zip(folders, read, strict=True))
    ]
    if not tables:
        return RESULTS.empty(), {}
    results = _each_once(jobs, pd.concat(tables, ignore_index=True), keys)
    curves: dict[str, np.ndarray] = {}
    for i, part in results.groupby("folder"):
        names = dict(zip(curve_names(part), run_names(part, keys), strict=True))
        for name, values in read[i][1].items():
            curves |= _thinned(name, values, names)
    return results.drop(columns=["job", "folder", "prepared"]), curves


def _read(config: Config, folder: Path, keys: Sequence[str]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    evaluated = config.evaluated
    data = {part.architecture: evaluated.data_of(part).name for part in evaluated.task.parts}
    first = next(iter(data.values()))
    results, curves = read_runs(folder, lambda table: table.task.map(data).fillna(first), config.seed)
    results = results.assign(status=results.status.map(without_paths), **settings_of(config, keys))
    return ordered(results), curves


def _each_once(jobs: Sequence[JobFolder], table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Without trainings that an earlier job has too; raises MuloError where both jobs prepared their method."""
    alike = ["method", "parametrization", *CONDITION, "seed", "split", *keys]
    seed = table.meta_seed.where(table.prepared, -1)
    first = table.assign(meta_seed=seed).groupby([*alike, "meta_seed"], sort=False).job.transform("first")
    twice = table[(table.job != first) & table.prepared]
    if len(twice):
        row, names = twice.iloc[0], [jobs[number[twice.index[0]]].folder.name for number in (first, table.job)]
        raise MuloError(
            f"Two jobs hold results of {row.method} with meta-seed {row.meta_seed} on the same networks and settings: "
            f"{names[0]} and {names[1]}. If one is older than the sweep, move it to another folder."
        )
    return table[table.job == first]


def _thinned(key: str, values: np.ndarray, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """One array of curves.npz under its name in the record."""
    base, _, kind = key.partition("/test")
    if base not in names:
        return {}
    name = names[base]
    if kind == "_steps":
        return {f"{name}/test_steps": values.astype(np.int32)}
    if key.endswith("/test"):
        return {f"{name}/test": values.astype(np.float32)}
    num_steps = values.shape[1]
    points = np.unique(np.linspace(0, num_steps - 1, min(POINTS, num_steps)).round().astype(np.int32))
    return {name: smoothed(values)[:, points].astype(np.float32), f"n{num_steps}/steps": points + 1}


def smoothed(curves: np.ndarray) -> np.ndarray:
    """Running medians of [seeds, steps] over about a fiftieth of the steps; nan from a seed's divergence on."""
    alive = np.logical_and.accumulate(np.isfinite(curves), axis=1)
    window = curves.shape[1] // 100 * 2 + 1
    return np.stack([running_median(row, window) for row in np.where(alive, curves, np.nan)])


def _changes(job: JobFolder, keys: Sequence[str]) -> list[pd.DataFrame]:
    path, config = job.folder / CHECK, job.config.evaluated
    if not path.exists():
        return []
    part = config.task.parts[0]
    head = {"method": config.method, "task": part.architecture, "data": config.data_of(part).name}
    table = CHANGES.read(path).assign(**head, meta_seed=config.seed, **settings_of(job.config, keys))
    return [table[["method", "task", "data", "meta_seed", *keys, *list(CHANGES.columns)[1:]]]]
