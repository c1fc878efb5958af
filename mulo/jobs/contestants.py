"""The networks that a job trains, and under which optimizers, before any θ is there."""

from dataclasses import replace

from mulo import checkpoint, data
from mulo.config import AdamConfig, Config, OptimizerConfig
from mulo.planning.plan import Contestant
from mulo.tasks import make_tasks
from mulo.types import Dataset

BEYOND = (2, 4, 8)
"""In mode=main, widths beyond the meta-training range: these multiples of its largest."""


def widths(config: Config) -> list[int]:
    """The widths that an evaluation covers."""
    if config.evaluation.widths is not None:
        return list(config.evaluation.widths)
    own = config.task.all_widths
    return own + [factor * max(own) for factor in BEYOND] if config.mode == "main" else own


def trained(config: Config, dataset: Dataset | None = None) -> Contestant:
    """The optimizer with its own task's networks."""
    return Contestant(
        config.optimizer, make_tasks(config.task, config.parametrization, dataset or data.load(config.data))
    )


def evaluated(config: Config, dataset: Dataset | None = None) -> list[Contestant]:
    """All contestants of the evaluation that follows meta-training, or of mode=evaluate."""
    dataset, settings = dataset or data.load(config.data), config.evaluation
    configs: list[OptimizerConfig] = [config.optimizer]
    if settings.sp_twin is not None:
        configs.append(checkpoint.read_meta(settings.sp_twin).optimizer)
    configs += [getattr(settings, name) for name in settings.baselines]
    alone = config.mode == "evaluate" or isinstance(config.optimizer, AdamConfig)
    sizes = widths(replace(config, mode="evaluate" if alone else "main"))
    return [
        Contestant(
            chosen, make_tasks(config.task, config.task.parametrization or chosen.parametrization, dataset, sizes)
        )
        for chosen in configs
    ]
