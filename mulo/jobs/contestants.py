"""The networks that a job trains, and under which optimizers, before any θ is there."""

from dataclasses import replace

from mulo import checkpoint, data
from mulo.config import Config, TaskBase
from mulo.optimizers import Optimizer
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
    settings, config = config.evaluation, config.evaluated
    configs: list[Optimizer] = [config.optimizer]
    if settings.sp_twin is not None:
        configs.append(checkpoint.read_meta(settings.sp_twin).optimizer)
    configs += [replace(baseline, name=name) for name, baseline in (settings.baselines or {}).items()]
    config = replace(config, mode="evaluate" if config.mode == "evaluate" else "main")
    own = config.task.parametrization
    return [Contestant(chosen, _networks(config, own or chosen.parametrization, evaluates=True)) for chosen in configs]


def tuning_of(config: Config) -> Contestant:
    """A baseline with the networks on which its settings are tried: of one width, of an oracle's every width."""
    own, tasks = config.evaluated, []
    for part in own.task.parts:
        chosen = widths(own, part) if config.tuning.each_width else [tuned_width(config, part)]
        tasks += make_tasks(part, own.parametrization, dataset_of(own, part), chosen, [part.depth])
    return Contestant(config.optimizer, tasks)


def tuned_width(config: Config, part: TaskBase) -> int:
    """Where settings are compared: on the largest width that a learned optimizer would be meta-trained on."""
    same = [own for own in config.task.parts if own.architecture == part.architecture]
    return config.tuning.width or max((same or [part])[0].all_widths)


def _networks(config: Config, parametrization: str, evaluates: bool = False) -> list[SupervisedTask]:
    """Of every architecture, at its own widths or at those of the evaluation."""
    own = config.evaluation
    return [
        task
        for part in config.task.parts
        for task in make_tasks(
            part,
            parametrization,
            dataset_of(config, part),
            widths(config, part) if evaluates else None,
            own.depths if evaluates else None,
        )
    ]
