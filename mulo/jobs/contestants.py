"""The networks that a job trains, and under which optimizers, before any θ is there."""

from dataclasses import replace

from mulo import checkpoint, data
from mulo.config import AdamConfig, Config, OptimizerConfig, TaskBase
from mulo.planning.plan import Contestant
from mulo.tasks import SupervisedTask, make_tasks
from mulo.types import Dataset

BEYOND = (2, 4, 8)
"""In mode=main, widths beyond the meta-training range: these multiples of its largest."""


def dataset_of(config: Config, part: TaskBase) -> Dataset:
    """The data that one architecture of the task learns from."""
    return data.load(config.data_of(part))


def widths(config: Config, part: TaskBase) -> list[int]:
    """The widths that an evaluation of one architecture covers."""
    if config.evaluation.widths is not None:
        return list(config.evaluation.widths)
    own = part.all_widths
    return own + [factor * max(own) for factor in BEYOND] if config.mode == "main" else own


def tasks(config: Config) -> list[SupervisedTask]:
    """The networks of the task itself, of every architecture and width."""
    return _networks(config, config.parametrization)


def trained(config: Config) -> Contestant:
    """The optimizer with its own task's networks."""
    return Contestant(config.optimizer, tasks(config))


def evaluated(config: Config) -> list[Contestant]:
    """All contestants of the evaluation that follows meta-training, or of mode=evaluate."""
    settings = config.evaluation
    configs: list[OptimizerConfig] = [config.optimizer]
    if settings.sp_twin is not None:
        configs.append(checkpoint.read_meta(settings.sp_twin).optimizer)
    configs += [getattr(settings, name) for name in settings.baselines]
    alone = config.mode == "evaluate" or isinstance(config.optimizer, AdamConfig)
    config = replace(config, mode="evaluate" if alone else "main")
    own = config.task.parametrization
    return [Contestant(chosen, _networks(config, own or chosen.parametrization, evaluates=True)) for chosen in configs]


def _networks(config: Config, parametrization: str, evaluates: bool = False) -> list[SupervisedTask]:
    """Of every architecture, at its own widths or at those of the evaluation."""
    return [
        task
        for part in config.task.parts
        for task in make_tasks(
            part, parametrization, dataset_of(config, part), widths(config, part) if evaluates else part.all_widths
        )
    ]
