"""Refuses, before anything big is launched, a job that will not fit into memory."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mulo.config import Config
from mulo.devices import particle_mesh
from mulo.errors import MemoryLimitError
from mulo.jobs import contestants
from mulo.planning import memory
from mulo.planning.available import available_bytes
from mulo.planning.memory import Footprint, Peak, Platform
from mulo.planning.plan import Contestant
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
    if config.meta_trains:
        devices = particle_mesh(config.recipe.pairs).size
        check_meta_training(config, contestants.trained(config), platform, available, devices)
    elif config.mode == "main":
        check_tuning(config, platform, available)
    if config.mode in ("main", "evaluate"):
        check_evaluation(config, contestants.evaluated(config), platform, available)


def peaks(config: Config, platform: Platform, devices: int = 1) -> dict[str, Peak]:
    """Of the parts of a job of mode=main, meta_train or evaluate, by their names."""
    found = {}
    if config.meta_trains:
        own = trainings(contestants.trained(config), platform)
        found["meta-training"] = memory.meta_training(own, config.recipe, platform, devices)
    elif config.mode == "main":
        found["tuning"] = tuning_peak(config, platform)[0]
    if config.mode in ("main", "evaluate"):
        found["evaluation"] = evaluation_peak(config, contestants.evaluated(config), platform)[0]
    return found


def trainings(contestant: Contestant, platform: Platform) -> list[Footprint]:
    """Memory of one training per width."""
    return [memory.training(task, contestant.config, platform) for task in contestant.tasks]


def check_meta_training(
    config: Config, trained: Contestant, platform: Platform, available: float, devices: int = 1
) -> None:
    """Raises MemoryLimitError with the batch size that would fit, or the width that is to blame."""
    own = trainings(trained, platform)
    peak = memory.meta_training(own, config.recipe, platform, devices)
    if peak.total > available:
        raise MemoryLimitError(
            _said("Meta-training", peak, available) + _advice(config, own, platform, available, devices)
        )


def _advice(config: Config, own: Sequence[Footprint], platform: Platform, available: float, devices: int) -> str:
    """The largest batch that would fit, else what to make smaller."""
    recipe = config.recipe
    for size in range((recipe.particles_per_batch or recipe.pairs) - 1, 0, -1):
        smaller = replace(recipe, particles_per_batch=size)
        if recipe.pairs % size == 0 and memory.meta_training(own, smaller, platform, devices).total <= available:
            return f"recipe.particles_per_batch={size} would fit."
    if memory.meta_training(own, recipe, platform, 1).total <= available:
        return "JAX_NUM_CPU_DEVICES=1 would fit: every device holds a copy of the data and moves a batch of its own."
    peak = memory.meta_training(own, recipe, platform, devices)
    if peak.process + peak.programs > available:
        return (
            "Python and what compiling leaves behind are more than that already: choose fewer networks in one job, or "
            "a machine with more memory."
        )
    worst = max(own, key=lambda training: training.state + training.work)
    return (
        f"No recipe.particles_per_batch would fit: {worst.name} needs most, {of_bytes(worst.state)} of state and "
        f"{of_bytes(worst.work)} on the way for each of its {2 * recipe.pairs} trainings. "
        "Choose a smaller width, fewer recipe.pairs or a machine with more memory."
    )


def evaluation_peak(config: Config, evaluated: Sequence[Contestant], platform: Platform) -> tuple[Peak, str]:
    """The largest cell's, with its task's name."""
    return _largest(evaluated, config.evaluation.seeds, platform)


def tuning_peak(config: Config, platform: Platform) -> tuple[Peak, str]:
    """Of the settings that are tried at the same time, on the largest network."""
    own = config.tuning
    settings = math.prod(map(len, own.grid.values()))
    return _largest([contestants.tuning_of(config)], min(own.settings_at_once, settings) * own.seeds, platform)


def _largest(among: Sequence[Contestant], together: int, platform: Platform) -> tuple[Peak, str]:
    largest = [(max(own.tasks, key=lambda task: size_of(shapes(task)[0])), own.config) for own in among]
    cells = [(task, memory.training(task, settings, platform)) for task, settings in largest]
    return memory.evaluation(cells, together, platform)


def check_tuning(config: Config, platform: Platform, available: float) -> None:
    """Raises MemoryLimitError naming the network that does not fit as often as settings are tried at once."""
    peak, name = tuning_peak(config, platform)
    if peak.total > available:
        raise MemoryLimitError(
            _said(f"The tuning on {name}", peak, available)
            + f"Choose fewer than tuning.settings_at_once={config.tuning.settings_at_once}, or a smaller tuning.width."
        )


def check_evaluation(config: Config, evaluated: Sequence[Contestant], platform: Platform, available: float) -> None:
    """Raises MemoryLimitError naming the network that does not fit."""
    peak, name = evaluation_peak(config, evaluated, platform)
    if peak.total > available:
        raise MemoryLimitError(
            _said(f"The evaluation of {name}", peak, available)
            + f"Choose smaller evaluation.widths, or fewer than evaluation.seeds={config.evaluation.seeds}."
        )


def _said(job: str, peak: Peak, available: float) -> str:
    need = f"{job} needs about {of_bytes(peak.total)} of memory ({held_by(peak)})"
    return f"{need}, and {of_bytes(available)} are available. "
