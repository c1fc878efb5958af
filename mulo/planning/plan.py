"""A plan: what meta-training, its validations and the evaluation cost, in arithmetic, memory and time."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from mulo.config import RecipeConfig
from mulo.cost import Cost
from mulo.optimizers import Optimizer
from mulo.planning import steps
from mulo.planning.memory import Peak
from mulo.planning.steps import InnerStep
from mulo.types import LayeredTask, Task


class Assignment(NamedTuple):
    """An optimizer with the networks it trains, one per width."""

    optimizer: Optimizer
    tasks: Sequence[LayeredTask]


Clock = Callable[[Optimizer, Task, InnerStep], float]
"""Seconds of one inner step of one training."""


@dataclass(frozen=True)
class Optimizee:
    """One network of the meta-training."""

    name: str
    parameters: int
    inner_step_flops: float
    inner_step_bytes: float
    inner_step_seconds: float


@dataclass(frozen=True)
class Phase:
    """A part of the job. `inner_steps` are those of all trainings together."""

    name: str
    inner_steps: float
    flops: float
    bytes: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The content of a plan; bytes, floating-point operations and seconds."""

    device: str
    assumptions: list[str]
    theta_parameters: int
    optimizees: list[Optimizee]
    phases: list[Phase]
    memory: dict[str, Peak]
    """Peak of each job, by its name."""
    memory_available: float | None

    @property
    def seconds(self) -> float:
        """Of the whole job; the outer step is a part of meta-training."""
        return sum(phase.seconds for phase in self.phases if phase.name != OUTER_STEP)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        memory = {job: {"total": peak.total} | asdict(peak) for job, peak in self.memory.items()}
        return asdict(self) | {"memory": memory, "seconds": self.seconds}


OUTER_STEP = "one outer step"


def optimizees(trained: Assignment, clock: Clock) -> list[Optimizee]:
    """One row per width."""
    rows = []
    for task in trained.tasks:
        step = steps.inner_step(task, trained.optimizer)
        seconds = clock(trained.optimizer, task, step)
        rows.append(Optimizee(task.name, step.parameters, step.total.flops, step.total.bytes, seconds))
    return rows


def meta_training(trained: Assignment, validated: Assignment, recipe: RecipeConfig, clock: Clock) -> list[Phase]:
    """One outer step, all of them, and all validations."""
    per_step = steps.per_outer_step(recipe)
    return [
        phase(OUTER_STEP, [trained], per_step, clock),
        phase("meta-training", [trained], per_step * recipe.outer_steps, clock),
        phase("validations", [validated], steps.validation(recipe), clock),
    ]


def phase(name: str, assignments: Sequence[Assignment], inner_steps: float, clock: Clock) -> Phase:
    """`inner_steps` of every network under its optimizer."""
    total, seconds, networks = Cost(0, 0), 0.0, 0
    for optimizer, tasks in assignments:
        for task in tasks:
            step = steps.inner_step(task, optimizer)
            total += step.total.times(inner_steps)
            seconds += clock(optimizer, task, step) * inner_steps
            networks += 1
    return Phase(name, networks * inner_steps, total.flops, total.bytes, seconds)
