"""Protocols and aliases shared by all layers; imports nothing of mulo."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import optax

Array: TypeAlias = jax.Array
Shape: TypeAlias = tuple[int, ...]
Params: TypeAlias = Any
"""Pytree of the optimizee's arrays."""
Theta: TypeAlias = Any
"""Pytree of a learned optimizer's own weights, the θ of the paper."""
Batch: TypeAlias = tuple[Array, Array]
"""Inputs [batch, ...] float32 and integer labels [batch]; of text, tokens [batch, length] and the tokens after them."""


@dataclass(frozen=True)
class Multiplier:
    """Update multiplier c of a parameter, with what optimizers need to know of it; `float` gives c.

    Attributes:
        update: c, that of elementwise updates, which scales the whole update.
        weight_decay: factor on the weight decay coefficient, beside c.
        epsilon: factor on Adam's ε.
        role: such as `hidden`; None: not known.
        fan_in: of matrices and convolutions, of these the input channels.
        axes: what each dimension of a matrix or convolution is: `i` summed over, `o` not, `w` kernel area, `s` stack.
        shape: of the whole parameter that c was made for; None: not known, and not checked.
    """

    update: float
    weight_decay: float = 1.0
    epsilon: float = 1.0
    role: str | None = None
    fan_in: int | None = None
    axes: str | None = None
    shape: tuple[int, ...] | None = None

    def __float__(self) -> float:
        return float(self.update)

    @property
    def fan_out(self) -> int | None:
        """Of matrices and convolutions, of these the output channels."""
        if self.axes is None or self.shape is None:
            return None
        return math.prod(size for axis, size in zip(self.axes, self.shape, strict=True) if axis == "o")


Multipliers: TypeAlias = Mapping[str, "Multiplier | float"]
"""Update multiplier of each parameter, by its path as `trees.path_name` writes it.

A plain float is a multiplier of which nothing else is known. The table of `mulo.parametrize` is such a mapping."""


class Layer(NamedTuple):
    """What one layer of an optimizee computed, for the coordinate check."""

    name: str
    inputs: Array
    """[batch, ..., fan_in]"""
    preactivation: Array
    """[batch, ..., fan_out]"""
    linear: Any
    """Function of inputs: the layer's matrix times its forward multiplier, without the bias; None without a matrix."""


class Dataset(Protocol):
    """Examples that live on the device; `arrays` travel as arguments of compiled functions."""

    @property
    def name(self) -> str:
        """As in `data=<name>`."""

    @property
    def kind(self) -> str:
        """`images` ([height, width] or [height, width, channels]), `tokens` ([length]) or `features` (any shape)."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""

    @property
    def classes(self) -> int:
        """Number of labels; of text, the vocabulary."""

    @property
    def arrays(self) -> Any:
        """Pytree of device arrays that `sample` and `fixed` read: those at position 0."""

    def at(self, position: int) -> Any:
        """The arrays after `position` refreshes, a function of the position alone.

        Data that fit on the device never change: the same object at every position. A stream shows a window of its
        examples that moves on with every refresh, so that a job resumed at a position sees what it would have seen.
        """

    def sample(self, arrays: Any, key: Array, batch_size: int) -> Batch:
        """Draws a training minibatch, uniformly with replacement."""

    def fixed(self, arrays: Any, split: str, count: int) -> Batch:
        """Returns the same `count` examples of 'train' or 'test' at every call."""


@runtime_checkable
class Task(Protocol):
    """A network, its data and its loss as pure functions: all that meta-training sees of an optimizee."""

    @property
    def name(self) -> str:
        """Short and unique within a job, such as `mlp_w128_d3`."""

    @property
    def data(self) -> Any:
        """Pytree of device arrays, handed back to `sample` as an argument of compiled programs."""

    def data_at(self, position: int) -> Any:
        """`data` after `position` refreshes (`Dataset.at`); what does not change is the same object."""

    @property
    def multipliers(self) -> Multipliers:
        """Update multipliers of the parametrization, one per parameter."""

    def init(self, key: Array) -> Params:
        """Fresh parameters."""

    def draw(self, key: Array) -> Any:
        """What else distinguishes a training from others, drawn by the key of its `init`; () for most tasks."""

    def sample(self, data: Any, key: Array) -> Batch:
        """A training minibatch."""

    def loss(self, params: Params, batch: Batch, drawn: Any = ()) -> Array:
        """Mean loss over the batch, a scalar; `drawn` is what `draw` gave at the training's start."""

    def full_loss(self, params: Params, data: Any, split: str, drawn: Any = ()) -> Array:
        """Mean loss over a fixed set of examples of 'train' or 'test', a scalar."""


class LayeredTask(Task, Protocol):
    """A task that shows what each of its layers computes."""

    @property
    def parametrization(self) -> Any:
        """From roles to numbers (`parametrization.Parametrization`); its `name` is such as `mup`."""

    @property
    def architecture(self) -> str:
        """Of the network, such as `mlp`."""

    @property
    def depth(self) -> int:
        """Hidden layers or blocks."""

    @property
    def width(self) -> int:
        """The size that grows from one network of an architecture to the next."""

    def layers(self, params: Params, inputs: Array) -> Sequence[Layer]:
        """Every layer on [batch, *input_shape] inputs, in the order of computation."""


class LearnedOptimizer(Protocol):
    """An update rule with weights θ; hand-designed baselines are the case where θ holds their settings."""

    def init(self, key: Array) -> Theta:
        """Fresh θ, where meta-training starts."""

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with weights `theta` for a training of `num_steps` steps, used like `optax.adam`.

        `theta` and `num_steps` may be traced, `multipliers` are static. The loss arrives as `value=`; `shards=` says
        inside `jax.shard_map` which part of each parameter a device holds (`sharding.Shards`).
        """

    def evaluation_params(self, state: Any, params: Params) -> Params:
        """The parameters to measure and to use, of a training with this optimizer state: most often `params`."""
