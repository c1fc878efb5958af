"""Tasks: networks with data and loss, built from settings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flax import nnx

from mulo.config import TaskBase
from mulo.config.tasks import MLPBase, ResNetBase, TransformerBase, ViTBase
from mulo.errors import ConfigError
from mulo.models.layers import Maker, Network
from mulo.models.mlp import MLP
from mulo.models.resnet import ResNet
from mulo.models.transformer import Transformer
from mulo.models.vit import ViT
from mulo.parametrization import Parametrization
from mulo.tasks.augmentation import Reparametrized
from mulo.tasks.supervised import SupervisedTask
from mulo.types import Dataset, Task

KINDS = {
    "mlp": ("images", "features"),
    "transformer": ("tokens",),
    "vit": ("images",),
    "resnet": ("images",),
}
"""What kinds of data a family can read."""


def make_tasks(
    config: TaskBase,
    parametrization: str,
    dataset: Dataset,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
) -> list[SupervisedTask]:
    """One task per depth and width of the configuration, those of the configuration where none are given.

    Raises:
        ConfigError: the network cannot read this data, or cannot have such a width.
    """
    _check_kind(config, dataset)
    tasks = [
        _task(replace(config, depth=depth), parametrization, dataset, width)
        for depth in depths or config.all_depths
        for width in widths or config.all_widths
    ]
    for task in tasks:
        task.multipliers  # noqa: B018  a width that does not go with the other settings is refused now
    return tasks


def augmented(tasks: Sequence[SupervisedTask], config: TaskBase) -> Sequence[Task]:
    """The same tasks as meta-training sees them: reparametrized where the settings ask for it."""
    if config.augmentation.level == "none":
        return tasks
    return [Reparametrized(task, config.augmentation) for task in tasks]


def _check_kind(config: TaskBase, dataset: Dataset) -> None:
    allowed = KINDS[config.family]
    if dataset.kind not in allowed:
        given = f"{dataset.name} ({dataset.kind})"
        advice = "Text: stdlib_text, lm1b. Images: fashion_mnist_8x8, fashion_mnist, cifar10, imagenet32, imagenet64."
        raise ConfigError.value("data", given, f"data of {' or '.join(allowed)} for a task={config.family}", advice)


def _scheme(config: TaskBase, parametrization: str) -> Parametrization:
    return Parametrization(
        parametrization,
        config.bias_init,
        config.output_init,
        embedding_std=getattr(config, "embedding_std", 1.0),
        blocks=config.blocks,
    )


def _task(config: TaskBase, parametrization: str, dataset: Dataset, width: int) -> SupervisedTask:
    scheme = _scheme(config, parametrization)

    def build(rngs: nnx.Rngs) -> Network:
        make = Maker(scheme, rngs, config.weight_init, config.scale_output_bias)
        return _network(config, width, dataset, make)

    return SupervisedTask(config.family, build, dataset, config.batch_size, scheme, width, config.depth)


def _network(config: Any, width: int, dataset: Dataset, make: Maker) -> Network:
    shape, classes = dataset.input_shape, dataset.classes
    match config:
        case MLPBase():
            return MLP(config, width, shape, classes, make)
        case TransformerBase():
            return Transformer(config, width, shape[0], classes, make)
        case ViTBase():
            return ViT(config, width, shape, classes, make)
        case ResNetBase():
            return ResNet(config, width, shape, classes, make)
    raise TypeError(f"{type(config).__name__} is not a task.")


__all__ = ["Parametrization", "Reparametrized", "SupervisedTask", "augmented", "make_tasks"]
