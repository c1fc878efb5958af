"""Refuses, before anything big is launched, a job that will not fit into memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from mulo.config import Config
from mulo.devices import particle_mesh
from mulo.errors import MemoryLimitError
from mulo.jobs import networks
from mulo.planning import memory
from mulo.planning.available import available_bytes
from mulo.planning.memory import Footprint, Peak, Platform
from mulo.planning.plan import Assignment
from mulo.planning.programs import size_of
from mulo.planning.steps import shapes
from mulo.reporting.plan_table import held_by
from mulo.reporting.units import of_bytes


def check(config: Config) -> None:
    """Estimates what mode=main, meta_train or evaluate needs; raises MemoryLimitError if there is less."""
    available = available_bytes() if config.meta_trains or config.mode in ("main", "evaluate") else None
    if available is None:
        return
    platform = memory.this_platform(config.state_dtype, config.evaluation.model_devices)
    if config.meta_trains and config.recipe.outer_steps:
        devices = particle_mesh(config.recipe.pairs).size
        check_meta_training(config, networks.trained(config), platform, available, devices)
    if config.tunes:
        advice = (
            f"Choose fewer than tuning.settings_at_once={config.tuning.settings_at_once}, or a smaller tuning.width."
        )
        _check_network("The tuning on", tuning_peak(config, platform), available, advice)
    if config.mode in ("main", "evaluate"):
        advice = f"Choose smaller evaluation.widths, or fewer than evaluation.seeds={config.evaluation.seeds}."
        _check_network("The evaluation of", evaluation_peak(config, platform), available, advice)


def peaks(config: Config, platform: Platform, devices: int = 1) -> dict[str, Peak]:
    """Of the parts of a job of mode=main, meta_train or evaluate, by their names."""
    named = {}
    if config.meta_trains and config.recipe.outer_steps:
        footprints = trainings(networks.trained(config), platform)
        validated = validations(config, platform)
        named["meta-training"] = memory.meta_training(footprints, config.recipe, platform, devices, validated)
    if config.tunes:
        named["tuning"] = tuning_peak(config, platform)[0]
    if config.mode in ("main", "evaluate"):
        named["evaluation"] = evaluation_peak(config, platform)[0]
    return named


def trainings(assignment: Assignment, platform: Platform) -> list[Footprint]:
    """Memory of one training per width."""
    return [memory.training(task, assignment.optimizer, platform) for task in assignment.tasks]


def validations(config: Config, platform: Platform) -> list[Footprint] | None:
    """Memory of one training of each network of meta-training's validations; None: they are its own."""
    tasks = networks.validated(config)
    return None if tasks is None else trainings(Assignment(config.optimizer, tasks), platform)


def check_meta_training(
    config: Config, trained: Assignment, platform: Platform, available: float, devices: int = 1
) -> None:
    """Raises MemoryLimitError with the batch size that would fit, or the width that is to blame."""
    footprints = trainings(trained, platform)
    peak_of = partial(memory.meta_training, footprints, platform=platform, validated=validations(config, platform))
    peak = peak_of(config.recipe, devices=devices)
    if peak.total > available:
        advice = _advice(config, footprints, peak_of, available, devices)
        raise MemoryLimitError(_refusal("Meta-training", peak, available) + advice)


def _advice(
    config: Config, footprints: Sequence[Footprint], peak_of: Callable[..., Peak], available: float, devices: int
) -> str:
    """The largest batch that would fit, else what to make smaller."""
    recipe = config.recipe
    for size in range((recipe.particles_per_batch or recipe.pairs) - 1, 0, -1):
        smaller = replace(recipe, particles_per_batch=size)
        if recipe.pairs % size == 0 and peak_of(smaller, devices=devices).total <= available:
            return f"recipe.particles_per_batch={size} would fit."
    if peak_of(recipe, devices=1).total <= available:
        return "JAX_NUM_CPU_DEVICES=1 would fit: every device holds a copy of the data and moves a batch of its own."
    peak = peak_of(recipe, devices=devices)
    if peak.process + peak.programs > available:
        return (
            "Python and what compiling leaves behind are more than that already: choose fewer networks in one job, or "
            "a machine with more memory."
        )
    worst = max(footprints, key=lambda training: training.state + training.work)
    return (
        f"No recipe.particles_per_batch would fit: {worst.name} needs most, {of_bytes(worst.state)} of state and "
        f"{of_bytes(worst.work)} on the way for each of its {2 * recipe.pairs} trainings. "
        "Choose a smaller width, fewer recipe.pairs or a machine with more memory."
    )


def evaluation_peak(config: Config, platform: Platform) -> tuple[Peak, str]:
    """The largest run's, with its task's name."""
    return _largest(networks.evaluated(config), config.evaluation.seeds, platform)


def tuning_peak(config: Config, platform: Platform) -> tuple[Peak, str]:
    """Of the settings that are tried at the same time, on the largest network."""
    tuning = config.tuning
    settings = min(tuning.settings_at_once, math.prod(map(len, config.grid.values())))
    return _largest([networks.tuning_of(config)], settings * tuning.seeds, platform)


def _largest(assignments: Sequence[Assignment], together: int, platform: Platform) -> tuple[Peak, str]:
    largest = [(max(tasks, key=lambda task: size_of(shapes(task)[0])), optimizer) for optimizer, tasks in assignments]
    footprints = [(task, memory.training(task, optimizer, platform)) for task, optimizer in largest]
    return memory.evaluation(footprints, together, platform)


def _check_network(work: str, peak_and_name: tuple[Peak, str], available: float, advice: str) -> None:
    peak, name = peak_and_name
    if peak.total > available:
        raise MemoryLimitError(_refusal(f"{work} {name}", peak, available) + advice)


def _refusal(work: str, peak: Peak, available: float) -> str:
    need = f"{work} needs about {of_bytes(peak.total)} of memory ({held_by(peak)})"
    return f"{need}, and {of_bytes(available)} are available. "
