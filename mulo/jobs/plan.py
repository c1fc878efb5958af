"""mode=plan: what the main job would cost, without running it."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
from rich.console import Console

from mulo.config import Config
from mulo.devices import particle_mesh
from mulo.errors import MemoryLimitError
from mulo.files import replacing
from mulo.jobs import memory, networks
from mulo.optimizers import Optimizer
from mulo.planning import accelerators
from mulo.planning import memory as estimates
from mulo.planning import plan as planning
from mulo.planning.accelerators import ACCELERATORS
from mulo.planning.available import available_bytes
from mulo.planning.calibration import Measured, measure
from mulo.planning.memory import Peak, Platform
from mulo.planning.plan import Assignment, Clock, Phase, Plan
from mulo.planning.steps import InnerStep, inner_step
from mulo.reporting.plan_table import print_plan
from mulo.types import Task


def plan(config: Config, console: Console) -> int:
    """Prints the plan, and writes it to `plan.output` where that is given."""
    made = make_plan(config)
    print_plan(made, console)
    if config.plan.output is not None:
        with replacing(Path(config.plan.output)) as partial:
            partial.write_text(json.dumps(made.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def make_plan(config: Config) -> Plan:
    """Counts the whole job: meta-training with its validations, of an optimizer with θ; tuning; the evaluation."""
    trained, evaluated = networks.trained(config), networks.evaluated(config)
    platform, device, available = _where(config)
    clock, assumptions = _clock(config, trained, platform, available)
    learned = config.optimizer.learned
    phases = _meta_training(config, trained, clock) if learned else []
    if config.grid:
        phases.append(planning.phase("tuning", [networks.tuning_of(config)], _tuning_steps(config), clock))
    steps = sum(config.evaluation.all_horizons) * config.evaluation.seeds
    phases.append(planning.phase("evaluation", evaluated, steps, clock))
    theta = jax.eval_shape(config.optimizer.init, jax.eval_shape(lambda: jax.random.key(0)))
    return Plan(
        device=device,
        assumptions=assumptions,
        theta_parameters=sum(math.prod(x.shape) for x in jax.tree.leaves(theta)),
        optimizees=planning.optimizees(trained, clock),
        phases=phases,
        memory=_memory(config, platform),
        memory_available=available,
    )


def _meta_training(config: Config, trained: Assignment, clock: Clock) -> list[Phase]:
    validated = Assignment(config.optimizer, networks.validated(config) or trained.tasks)
    return planning.meta_training(trained, validated, config.recipe, clock)


def _tuning_steps(config: Config) -> int:
    tuning = config.tuning
    return math.prod(map(len, config.grid.values())) * tuning.seeds * tuning.num_steps


def _where(config: Config) -> tuple[Platform, str, float | None]:
    """What memory depends on, the device in words, and its memory in bytes."""
    if config.plan.device == "this":
        name = f"this machine ({jax.local_device_count()} {jax.default_backend()} device(s))"
        here = estimates.this_platform(config.state_dtype, config.evaluation.model_devices)
        return here, name, available_bytes()
    device = ACCELERATORS[config.plan.device]
    return Platform(cpu=False, native=False, state_dtype=config.state_dtype), f"one {device.name}", device.memory


def _memory(config: Config, platform: Platform) -> dict[str, Peak]:
    devices = particle_mesh(config.recipe.pairs).size if config.plan.device == "this" else 1
    return memory.peaks(replace(config, mode="main"), platform, devices)


def _clock(config: Config, trained: Assignment, platform: Platform, available: float | None) -> tuple[Clock, list[str]]:
    """Seconds of an inner step, and in words what they rest on."""
    if config.plan.device != "this":
        device = ACCELERATORS[config.plan.device]
        return lambda optimizer, task, step: accelerators.seconds(step, device), accelerators.assumptions(device)
    tasks = _measurable(trained, platform, available)
    recipe = config.recipe
    fits = available is None or _whole_fits(config, trained, platform, available)
    measured = measure(
        tasks, config.optimizer, recipe, config.plan.seconds, whole=fits and len(tasks) == len(trained.tasks)
    )
    return _extrapolated(config, trained, tasks, measured)


def _whole_fits(config: Config, trained: Assignment, platform: Platform, available: float) -> bool:
    footprints = memory.trainings(trained, platform)
    return estimates.meta_training(footprints, config.recipe, platform).total <= available


def _measurable(trained: Assignment, platform: Platform, available: float | None) -> Sequence[Task]:
    """The tasks of which a pair fits into memory."""
    sizes = zip(trained.tasks, memory.trainings(trained, platform), strict=True)
    fitting = [task for task, size in sizes if available is None or estimates.single(size, platform) <= available]
    if not fitting:
        raise MemoryLimitError(
            "Not even one pair of trainings of any network fits into this machine's memory, and none can be measured: "
            f"plan for another one, such as plan.device={next(iter(ACCELERATORS))}."
        )
    return fitting


def _extrapolated(
    config: Config, trained: Assignment, tasks: Sequence[Task], measured: Measured
) -> tuple[Clock, list[str]]:
    """Measured where it was measured, else in proportion to arithmetic from the largest network measured."""
    largest = max(tasks, key=lambda task: inner_step(task, config.optimizer).total.flops)
    per_flop = measured.by_task[largest.name] / inner_step(largest, config.optimizer).total.flops

    def seconds(optimizer: Optimizer, task: Task, step: InnerStep) -> float:
        known = measured.by_task.get(task.name) if optimizer == config.optimizer else None
        return per_flop * step.total.flops if known is None else known

    rest = f"Extrapolated from {largest.name} in proportion to arithmetic: all other networks and optimizers."
    return seconds, [measured.how, rest]
