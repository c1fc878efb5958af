"""What a record holds: the sweep's head, its jobs, and the table of results or of changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mulo.config import SweepConfig
from mulo.evaluation.coordinate_rows import CHANGES_OF_JOBS
from mulo.evaluation.results import CONDITION, RESULTS, SPLITS, trainings
from mulo.reporting.labels import label


@dataclass(frozen=True)
class Preparation:
    """What a job's method needed before it was evaluated."""

    kind: str = "none"
    """`meta-training` (with the tuning that followed it), `tuning` or `none`."""
    seconds: float | None = None
    shared: str | None = None
    """The meta-training's directory, where jobs share one."""
    outer_steps: int | None = None
    validation_loss: float | None = None
    """Of the best θ."""
    settings: int | None = None
    """Tried in tuning, over all networks."""


@dataclass(frozen=True)
class Job:
    """One job of the sweep."""

    name: str
    """Its directory's."""
    method: str
    seed: int
    settings: dict[str, str]
    """Of the keys in which the sweep's jobs differ."""
    status: str
    """That of job.json; without the file `finished` where there are results, else `unfinished`."""
    reason: str | None = None
    starts: int | None = None
    wall_seconds: float | None = None
    """Over all starts."""
    first_started: str | None = None
    ended: str | None = None
    trained_widths: dict[str, list[int]] = field(default_factory=dict)
    """By architecture; empty for what was not meta-trained, as baselines."""
    preparation: Preparation = field(default_factory=Preparation)
    provenance: dict[str, Any] = field(default_factory=dict)
    theta: str | None = None
    """SHA-256 of θ from its checkpoint; None without one, and in records of older versions."""


@dataclass(frozen=True, eq=False)
class Record:
    """What is stored: results or changes, never both."""

    sweep: SweepConfig
    scale: str | None
    date: str
    """On which it was gathered, ISO 8601."""
    varied: Sequence[str]
    """Keys of the configuration in which jobs of one method differ, meta-seeds aside; columns of both tables."""
    tolerance: float
    """Of slopes in a coordinate check."""
    jobs: Sequence[Job]
    results: pd.DataFrame = field(default_factory=RESULTS.empty)
    changes: pd.DataFrame = field(default_factory=CHANGES_OF_JOBS.empty)
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By `run_names` smoothed training losses [seeds, points], nan once diverged; `n<num_steps>/steps` [points] are
    their steps. `<name>/test` [seeds, points] and `<name>/test_steps` [points] are the test losses on the way."""

    @cached_property
    def names(self) -> dict[tuple[str, str], str]:
        """Printed names by method and parametrization, which is named where a method has several.

        Those that claims are about come first. Methods whose printed names would be equal keep the stored ones.
        """
        known = dict.fromkeys(zip(self.results.method, self.results.parametrization, strict=True))
        claimed = list(dict.fromkeys(name for claim in self.sweep.claims for name in (claim.better, claim.than)))
        pairs = sorted(known, key=lambda pair: claimed.index(pair[0]) if pair[0] in claimed else len(claimed))
        methods = [method for method, _ in pairs]
        labels = [label(method) for method in dict.fromkeys(methods)]
        printed = {method: label(method) if labels.count(label(method)) == 1 else method for method in methods}
        return {
            (method, network): printed[method] + (f" in {label(network)}" if methods.count(method) > 1 else "")
            for method, network in pairs
        }

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """One row per training with the losses of all splits (`trainings` of results), sorted by condition and name.

        Beside them: `condition`, its row in `conditions`; `name`, the printed one; `run`, under which its curves are.
        """
        if self.results.empty:  # without settings
            added = ["condition", "name", "run"]
            return pd.DataFrame(columns=[*self.results.columns.union(self.varied), *SPLITS, *added])
        rows = trainings(self.results)
        values = list(rows[[*CONDITION, *self.varied]].itertuples(index=False, name=None))
        numbers = {combination: number for number, combination in enumerate(sorted(set(values), key=_order))}
        names = [self.names[pair] for pair in zip(rows.method, rows.parametrization, strict=True)]
        rows = rows.assign(condition=list(map(numbers.get, values)), name=names, run=run_names(rows, self.varied))
        order = list(self.names.values())
        return rows.iloc[np.lexsort(([order.index(name) for name in names], rows.condition))].reset_index(drop=True)

    @cached_property
    def conditions(self) -> pd.DataFrame:
        """Methods are compared under them: a network, data, a number of steps, and values of settings that vary."""
        return self.trainings.drop_duplicates("condition").set_index("condition")[[*CONDITION, *self.varied]]


def _order(condition: tuple[Any, ...]) -> tuple[object, ...]:
    """Settings by their numbers, and after those by their text."""
    known, settings = condition[: len(CONDITION)], condition[len(CONDITION) :]
    return (*known, tuple((as_number(value) is None, as_number(value) or 0.0, value) for value in settings))


def as_number(text: str) -> float | None:
    """A setting's value as a number, where it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def run_names(table: pd.DataFrame, varied: Sequence[str]) -> list[str]:
    """The key in `Record.curves` of each row's run: all its seeds under one meta-seed."""
    return [
        f"{row['method']}/{row['parametrization']}/{row['task']}/{row['data']}/w{row['width']}/d{row['depth']}"
        f"/n{row['num_steps']}/m{row['meta_seed']}" + "".join(f"/{key}={row[key]}" for key in varied)
        for row in table.to_dict("records")
    ]
