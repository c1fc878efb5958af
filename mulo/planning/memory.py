"""Peak memory of meta-training, tuning and evaluation, from shapes: what is kept, and what is needed on the way.

On CPUs the process itself and what compiling leaves behind count too: the whole is what the system calls resident.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax

from mulo.config import RecipeConfig
from mulo.optimizers import Optimizer, native, with_state_dtype
from mulo.planning.live import peak_bytes
from mulo.planning.programs import operations, size_of
from mulo.planning.steps import shapes
from mulo.types import Task
from mulo.unroll import start, unroll

PROCESS = 500_000_000
"""Python, JAX and its libraries, the compiler's code, and the small programs that every job has; measured where the
networks are smallest."""
PER_OPERATION = 150_000
"""What XLA's compiler takes for an operation of a large program, and the allocator does not give back: measured 60 to
290 thousand bytes."""
SAVED_COPIES = 2
"""Of all state during a save: Orbax copies it to the host, TensorStore what it writes. Measured 1.2 to 2."""
XLA_MARGIN = 1.25
"""Of forward and backward pass, XLA's buffers over the arrays that must be alive: 1.0 to 1.25 on MLPs and residual
networks, 1.3 to 1.5 on transformers, where matrix products take transposed copies."""
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


class Footprint(NamedTuple):
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
    operations: int
    """Of its programs; no bytes."""


def this_platform(state_dtype: str = "float32", model_devices: int = 1) -> Platform:
    """The one that JAX runs on."""
    return Platform(jax.default_backend() == "cpu", native.available(), state_dtype, model_devices)


def training(task: Task, config: Optimizer, platform: Platform) -> Footprint:
    """Counted from shapes alone."""
    optimizer, key = with_state_dtype(config, platform.state_dtype), jax.eval_shape(partial(jax.random.key, 0))
    theta = jax.eval_shape(optimizer.init, key)
    starting, state = operations(lambda theta, key: start(task, optimizer, theta, 1, key), theta, key)
    keys = jax.ShapeDtypeStruct((1,), key.dtype)
    running, _ = operations(partial(unroll, task, optimizer), theta, state, 1, task.data, keys)
    sizes = [math.prod(x.shape) for x in jax.tree.leaves(state.params)]

    def gradient(params: Any, data: Any, key: Any) -> Any:
        return jax.value_and_grad(task.loss)(params, task.sample(data, key))

    passes = XLA_MARGIN * peak_bytes(gradient, state.params, task.data, key)
    moving = 4 * sum(sizes) + _scratch(config, sizes, platform)
    params, data = size_of(state.params), size_of(task.data)
    work = int(max(passes, moving))
    return Footprint(task.name, size_of(state), work, params, size_of(theta), data, starting + running)


def _scratch(optimizer: Optimizer, sizes: Sequence[int], platform: Platform) -> float:
    """Bytes of an update beside state and gradients."""
    scratch = optimizer.scratch(sizes, platform.cpu, platform.native)
    # bfloat16 moments are widened for the step: three of the momentum, one of the square.
    return scratch + (MOMENTS_WIDENED * sum(sizes) if platform.state_dtype == "bfloat16" else 0)


@dataclass(frozen=True)
class Peak:
    """Bytes at the worst moment of a job, by what holds them."""

    moment: str
    """Which one it is, such as `a validation`."""
    process: int
    """Python, JAX and what else is loaded; on accelerators 0, it is not in their memory."""
    programs: int
    """Left by the compiler; on accelerators 0."""
    data: int
    state: int
    """Of all trainings that are kept."""
    work: int
    """On the way: of the trainings that move at the same time, or the copies that a save writes."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by what holds them, in words."""
        named = {
            "Python and its libraries": self.process,
            "compiler": self.programs,
            "data": self.data,
            "state of all trainings": self.state,
            f"on the way in {self.moment}": self.work,
        }
        return {name: size for name, size in named.items() if size}


def meta_training(
    trainings: Sequence[Footprint],
    recipe: RecipeConfig,
    platform: Platform,
    devices: int = 1,
    validated: Sequence[Footprint] | None = None,
) -> Peak:
    """Of one memory: on CPUs that of all devices together, on accelerators that of each.

    Args:
        trainings: one per task.
        recipe: pairs, and how many of them advance at the same time.
        platform: where.
        devices: that share out the pairs.
        validated: one per network of validations; None: those of meta-training.
    """
    pairs, together = recipe.pairs // devices, devices if platform.cpu else 1
    batch = recipe.particles_per_batch or pairs
    states = [2 * pairs * together * training.state for training in trainings]
    state = sum(states) + sum(5 * pairs * together * training.theta for training in trainings)
    moving = [together * _moving(training, pairs, batch) for training in trainings]
    moments = {
        # Tasks run side by side on CPUs, one after the other on accelerators; a validation adds one task's trainings.
        "a step": sum(moving) if platform.cpu else max(moving),
        "a validation": together * max(_validating(training, recipe, devices) for training in validated or trainings),
        "a save": SAVED_COPIES * state if platform.cpu else 0,
    }
    moment = max(moments, key=lambda name: moments[name])
    # Tasks that learn from the same dataset share it; so do those whose datasets are as large, in all likelihood.
    compiled = [*trainings, *(validated or ())]
    data = together * sum({training.data for training in compiled})
    host = _host(platform, sum(training.operations for training in compiled))  # tasks compile side by side
    return Peak(moment, *host, data, state, moments[moment])


def _validating(training: Footprint, recipe: RecipeConfig, devices: int) -> int:
    """A validation's trainings of one network on one device."""
    count = math.ceil(recipe.validation_trainings / devices)
    pairs = math.ceil(count / 2)
    return count * training.state + _moving(training, pairs, recipe.particles_per_batch or pairs)


def _moving(training: Footprint, pairs: int, batch: int) -> int:
    """A truncation of one batch, whose state is a copy if it is not all; or new starts, drawn for all pairs."""
    advance = 2 * min(batch, pairs) * (training.work + (training.state if batch < pairs else 0))
    return max(advance, 4 * pairs * training.params)


def _host(platform: Platform, operations: int) -> tuple[int, int]:
    """Bytes of the process, and those that compiling programs of so many operations leaves behind."""
    return (PROCESS, PER_OPERATION * operations) if platform.cpu else (0, 0)


def single(training: Footprint, platform: Platform) -> int:
    """Bytes of one pair of trainings that moves alone."""
    return sum(_host(platform, training.operations)) + 2 * (training.state + training.work) + training.data


def evaluation(runs: Sequence[tuple[Task, Footprint]], seeds: int, platform: Platform) -> tuple[Peak, str]:
    """The largest of the runs, which follow each other, with its task's name.

    On accelerators of each device, a network's shares taken as equal.
    """
    sharing = 1 if platform.cpu else platform.model_devices

    def peak(task: Task, size: Footprint) -> Peak:
        params, _ = shapes(task)
        moments = {
            "its start": 2 * seeds * size.params,
            "its steps": seeds * size.work,
            "its test": int(XLA_MARGIN * peak_bytes(partial(task.full_loss, split="test"), params, task.data)),
        }
        moment = max(moments, key=lambda name: moments[name])
        host, state = _host(platform, size.operations), seeds * size.state
        return Peak(moment, *host, size.data, state // sharing, moments[moment] // sharing)

    return max(((peak(task, size), size.name) for task, size in runs), key=lambda named: named[0].total)
