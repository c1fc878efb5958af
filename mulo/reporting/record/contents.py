"""What a record holds: the sweep's head, its jobs, and one row per training or per movement."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mulo.config import SweepConfig
from mulo.evaluation import coordinate_rows
from mulo.evaluation.results import Result


@dataclass(frozen=True)
class Preparation:
    """What a job's contestant needed before it was evaluated."""

    kind: str = "none"
    """`meta-training`, `tuning` or `none`."""
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
    contestant: str
    seed: int
    settings: dict[str, str]
    """Of the keys in which the sweep's jobs differ."""
    status: str
    """As in job.json; without that file `finished` where there are results, else `unfinished`."""
    reason: str | None = None
    starts: int | None = None
    wall_seconds: float | None = None
    """Over all starts."""
    first_started: str | None = None
    ended: str | None = None
    trained_widths: dict[str, list[int]] = field(default_factory=dict)
    """By architecture; empty for baselines."""
    preparation: Preparation = field(default_factory=Preparation)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """One trained network."""

    result: Result
    """`optimizer` is the contestant."""
    data: str
    meta_seed: int
    """The job's seed."""
    settings: Mapping[str, str]
    initial_loss: float = math.nan
    """Minibatch loss before the first step; nan where there is no curve."""

    @property
    def contestant(self) -> str:
        """The contestant's name."""
        return self.result.optimizer

    @property
    def key(self) -> str:
        """Under which the curves of all its cell's seeds are kept."""
        own = self.result
        sizes = f"w{own.width}/d{own.depth}/n{own.steps}/m{self.meta_seed}"
        more = "".join(f"/{key}={value}" for key, value in self.settings.items())
        return f"{own.optimizer}/{own.parametrization}/{own.task}/{self.data}/{sizes}{more}"


@dataclass(frozen=True)
class Movement:
    """One movement of a coordinate check."""

    contestant: str
    task: str
    data: str
    meta_seed: int
    settings: Mapping[str, str]
    row: coordinate_rows.Row


@dataclass(frozen=True)
class Record:
    """All that is stored. There are losses or movements, never both."""

    sweep: SweepConfig
    scale: str | None
    date: str
    """On which it was gathered, ISO 8601."""
    varied: Sequence[str]
    """Keys of the configuration in which jobs of one contestant differ, meta-seeds aside."""
    tolerance: float
    """Of slopes in a coordinate check."""
    jobs: Sequence[Job]
    losses: Sequence[Loss] = ()
    movements: Sequence[Movement] = ()
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By `Loss.key` smoothed training losses [seeds, points], nan once diverged; `n<steps>/steps` [points] says where.
    `<key>/test` [seeds, points] and `<key>/test_steps` [points] are the test losses on the way."""
