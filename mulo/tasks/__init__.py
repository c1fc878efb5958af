"""Tasks: networks with data and loss, built from settings."""

from collections.abc import Sequence

from flax import nnx

from mulo.config import TaskBase
from mulo.config.registry import imported
from mulo.config.tasks import Size
from mulo.errors import ConfigError
from mulo.models.layers import Network, ParameterFactory
from mulo.parametrization import Parametrization
from mulo.tasks.augmentation import Reparametrized
from mulo.tasks.supervised import SupervisedTask
from mulo.types import Dataset, Task


def make_tasks(
    config: TaskBase,
    parametrization: str,
    dataset: Dataset,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
) -> list[SupervisedTask]:
    """One task per size of network: every width at every depth, by default those of the configuration.

    Raises:
        ConfigError: the network cannot read this data, or cannot have such a width.
    """
    _check_kind(config, dataset)
    tasks = [_task(config, parametrization, dataset, size) for size in config.sizes(widths, depths)]
    for task in tasks:
        task.multipliers  # noqa: B018  building the network refuses an invalid width now
    return tasks


def augmented(tasks: Sequence[SupervisedTask], config: TaskBase) -> Sequence[Task]:
    """The same tasks as meta-training sees them: reparametrized where the settings ask for it."""
    if config.augmentation.level == "none":
        return tasks
    return [Reparametrized(task, config.augmentation) for task in tasks]


def _check_kind(config: TaskBase, dataset: Dataset) -> None:
    if dataset.kind not in config.reads:
        name = f"{dataset.name} ({dataset.kind})"
        kinds = " or ".join(config.reads)
        advice = "Text: stdlib_text, lm1b. Images: fashion_mnist_8x8, fashion_mnist, cifar10, imagenet32, imagenet64."
        raise ConfigError.value("data", name, f"data of {kinds} for a task={config.architecture}", advice)


def _parametrization(config: TaskBase, name: str, size: Size) -> Parametrization:
    return Parametrization(
        name,
        config.bias_init,
        config.output_init,
        embedding_std=getattr(config, "embedding_std", 1.0),
        blocks=config.blocks(size.depth),
    )


def _task(config: TaskBase, name: str, dataset: Dataset, size: Size) -> SupervisedTask:
    parametrization, network = _parametrization(config, name, size), imported(config.network)

    def build(rngs: nnx.Rngs) -> Network:
        make = ParameterFactory(parametrization, rngs, config.weight_init, config.scale_output_bias)
        return network(config, size, dataset.input_shape, dataset.classes, make)

    return SupervisedTask(config.architecture, build, dataset, config.batch_size, parametrization, *size)


__all__ = ["Parametrization", "Reparametrized", "SupervisedTask", "augmented", "make_tasks"]
