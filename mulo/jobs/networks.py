"""The networks that a job trains, and under which optimizers."""

from dataclasses import replace

from mulo import checkpoint, data
from mulo.config import Config, TaskBase
from mulo.optimizers import Optimizer
from mulo.planning.plan import Assignment
from mulo.reporting.labels import THETA0
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
    trained = part.all_widths
    return trained + [factor * max(trained) for factor in BEYOND] if config.mode == "main" else trained


def tasks(config: Config) -> list[SupervisedTask]:
    """The networks of the task itself, of every architecture and width."""
    return _networks(config, config.parametrization)


def validated(config: Config) -> list[SupervisedTask] | None:
    """The networks of meta-training's validations; None: those that are meta-trained on."""
    settings = config.recipe.validation
    if not settings.other_networks:
        return None
    return [
        task
        for part in config.task.parts
        for task in make_tasks(part, config.parametrization, dataset_of(config, part), settings.widths, settings.depths)
    ]


def trained(config: Config) -> Assignment:
    """The optimizer with its own task's networks."""
    return Assignment(config.optimizer, tasks(config))


def evaluated(config: Config) -> list[Assignment]:
    """All optimizers of the evaluation that follows meta-training, or of mode=evaluate."""
    settings, config = config.evaluation, config.evaluated
    optimizers: list[Optimizer] = [config.optimizer]
    if config.shows_theta0:
        optimizers.append(replace(config.optimizer, name=config.method + THETA0))
    if settings.sp_twin is not None:
        optimizers.append(checkpoint.read_meta(settings.sp_twin).optimizer)
    optimizers += [replace(baseline, name=name) for name, baseline in (settings.baselines or {}).items()]
    config = replace(config, mode="evaluate" if config.mode == "evaluate" else "main")
    return [
        Assignment(
            optimizer, _networks(config, config.task.parametrization or optimizer.parametrization, evaluates=True)
        )
        for optimizer in optimizers
    ]


def tuning_of(config: Config) -> Assignment:
    """The optimizer with the networks on which its settings are tried: of one width, of an oracle's every width."""
    evaluated, tasks = config.evaluated, []
    for part in evaluated.task.parts:
        tuned = widths(evaluated, part) if config.tuning.each_width else [tuned_width(config, part)]
        tasks += make_tasks(part, evaluated.parametrization, dataset_of(evaluated, part), tuned, [part.depth])
    return Assignment(config.optimizer, tasks)


def tuned_width(config: Config, part: TaskBase) -> int:
    """Where settings are compared: on the largest width that a learned optimizer would be meta-trained on."""
    same = [trained for trained in config.task.parts if trained.architecture == part.architecture]
    return config.tuning.width or max((same or [part])[0].all_widths)


def _networks(config: Config, parametrization: str, evaluates: bool = False) -> list[SupervisedTask]:
    """Of every architecture, at its own widths or at those of the evaluation."""
    return [
        task
        for part in config.task.parts
        for task in make_tasks(
            part,
            parametrization,
            dataset_of(config, part),
            widths(config, part) if evaluates else None,
            config.evaluation.depths if evaluates else None,
        )
    ]
