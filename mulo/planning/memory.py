"""Peak memory of meta-training and evaluation, from shapes: what is kept, and what one batch needs on the way."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from mulo.config import AdamConfig, Celo2Config, OptimizerConfig, RecipeConfig
from mulo.meta.unroll import start
from mulo.optimizers import make_optimizer, native
from mulo.optimizers.per_parameter_mlp import ACCELERATOR_TILE, FUSED_HIDDEN, TILE
from mulo.planning.programs import peak_bytes, size_of
from mulo.planning.steps import shapes
from mulo.planning.updates import FULL_FEATURES
from mulo.types import Task

XLA_MARGIN = 1.5
"""Of forward and backward pass, XLA's buffers over the least that must be alive: 1.3 to 1.5 on the MLPs compared."""
NATIVE_SCRATCH = 4
"""Bytes per parameter of the update beside state and gradient: the step."""
JAX_SCRATCH = 24
"""The same of the kernel in JAX, whose intermediates XLA does not all fuse; measured 20 to 24."""

MOMENTS_WIDENED = 16
"""Bytes per parameter of a float32 copy of all moments."""


class Platform(NamedTuple):
    """What memory depends on besides shapes."""

    cpu: bool
    native: bool
    """Updates run in the native kernel."""
    state_dtype: str = "float32"
    """Of the optimizers' moments."""
    model_devices: int = 1
    """That share each network of an evaluation."""


class Training(NamedTuple):
    """Bytes of one training, or of one network in evaluation."""

    name: str
    state: int
    """Parameters and optimizer state."""
    work: int
    """On the way: activations, gradients, steps, scratch."""
    params: int
    theta: int
    data: int
    """Of the dataset, once for all trainings."""


def this_platform(state_dtype: str = "float32", model_devices: int = 1) -> Platform:
    """The one that JAX runs on."""
    return Platform(jax.default_backend() == "cpu", native.available(), state_dtype, model_devices)


def training(task: Task, config: OptimizerConfig, platform: Platform) -> Training:
    """Counted from shapes alone."""
    optimizer, key = make_optimizer(config, platform.state_dtype), jax.eval_shape(partial(jax.random.key, 0))
    theta = jax.eval_shape(optimizer.init, key)
    state = jax.eval_shape(lambda theta, key: start(task, optimizer, theta, 1, key), theta, key)
    sizes = [math.prod(x.shape) for x in jax.tree.leaves(state.params)]

    def gradient(params: Any, data: Any, key: Any) -> Any:
        return jax.value_and_grad(task.loss)(params, task.sample(data, key))

    passes = XLA_MARGIN * peak_bytes(gradient, state.params, task.data, key)
    moving = 4 * sum(sizes) + _scratch(config, sizes, platform)
    work = int(max(passes, moving))
    return Training(task.name, size_of(state), work, size_of(state.params), size_of(theta), size_of(task.data))


def _scratch(config: OptimizerConfig, sizes: Sequence[int], platform: Platform) -> float:
    """Bytes of an update beside state and gradients."""
    if isinstance(config, AdamConfig) or platform.native:
        scratch: float = NATIVE_SCRATCH * sum(sizes)
    else:
        scratch = JAX_SCRATCH * sum(sizes) + _tile(config, sizes, platform)
    # bfloat16 moments are widened for the step: three of the momentum, one of the square.
    scratch += MOMENTS_WIDENED * sum(sizes) if platform.state_dtype == "bfloat16" else 0
    # Newton–Schulz: the matrix, its product and the sum at the largest tensor, and its square at most as large.
    orthogonal = isinstance(config, Celo2Config) and config.orthogonalize
    return scratch + (16 * max(sizes) if orthogonal else 0)


def _tile(config: Any, sizes: Sequence[int], platform: Platform) -> int:
    if config.hidden_size <= FUSED_HIDDEN:
        return 0
    entries = min(max(sizes), TILE if platform.cpu else ACCELERATOR_TILE)
    return 4 * entries * (FULL_FEATURES[config.architecture] + 2 * config.hidden_size)


class Peak(NamedTuple):
    """Bytes at the worst moment of a job, by what holds them."""

    data: int
    state: int
    """Of all trainings that are kept."""
    work: int
    """Of the trainings that move at the same time."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def meta_training(trainings: Sequence[Training], recipe: RecipeConfig, platform: Platform, devices: int = 1) -> Peak:
    """Of one memory: on CPUs that of all devices together, on accelerators that of each.

    Args:
        trainings: one per task.
        recipe: pairs, and how many of them advance at the same time.
        platform: where.
        devices: that share out the pairs.
    """
    pairs = recipe.pairs if platform.cpu else recipe.pairs // devices
    batch = recipe.particles_per_batch or pairs
    kept = [2 * pairs * own.state + 5 * pairs * own.theta for own in trainings]
    moving = [_moving(own, pairs, batch) for own in trainings]
    # Tasks run side by side on CPUs, one after the other on accelerators; a validation adds one task's trainings.
    step = sum(moving) if platform.cpu else max(moving)
    validation = max(2 * pairs * own.state + work for own, work in zip(trainings, moving, strict=True))
    copies = devices if platform.cpu else 1
    return Peak(copies * trainings[0].data, sum(kept), max(step, validation))


def _moving(own: Training, pairs: int, batch: int) -> int:
    """A truncation of one batch, whose state is a copy if it is not all; or new starts, drawn for all pairs."""
    advance = 2 * min(batch, pairs) * (own.work + (own.state if batch < pairs else 0))
    return max(advance, 4 * pairs * own.params)


def evaluation(cells: Sequence[tuple[Task, Training]], seeds: int, platform: Platform) -> tuple[Peak, str]:
    """The largest of the cells, which run one after the other, with its task's name.

    On accelerators of each device, a network's shares taken as equal.
    """
    sharing = 1 if platform.cpu else platform.model_devices

    def peak(task: Task, own: Training) -> Peak:
        params, _ = shapes(task)
        at_end = int(XLA_MARGIN * peak_bytes(partial(task.full_loss, split="test"), params, task.data))
        return Peak(own.data, seeds * own.state // sharing, max(seeds * own.work, at_end) // sharing)

    return max(((peak(task, own), own.name) for task, own in cells), key=lambda found: found[0].total)
