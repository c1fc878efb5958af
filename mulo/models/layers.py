"""The layers that all optimizees are made of; each parameter carries its role and fan-in as metadata."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from mulo.parametrization import Parametrization, Role, RoleRule
from mulo.types import Array, Layer, Shape


class Network(Protocol):
    """An optimizee: logits from inputs, layer by layer."""

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network and yields each layer's input and pre-activation in turn; the last are the logits."""


def _draw(distribution: str, key: Array, shape: Shape, mean: float, std: float) -> Array:
    if std == 0:
        return jnp.full(shape, mean, jnp.float32)
    if distribution == "truncated_normal":
        return mean + std * jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32)
    return mean + std * jax.random.normal(key, shape, jnp.float32)


@dataclass(frozen=True)
class ParameterFactory:
    """Draws parameters with the init and the multipliers of their role.

    Attributes:
        parametrization: turns roles into numbers.
        rngs: source of the parameters' randomness.
        distribution: `normal`, or `truncated_normal` (cut at 2 std, variance not corrected).
        scale_output_bias: applies the output's forward multiplier to its bias too.
    """

    parametrization: Parametrization
    rngs: nnx.Rngs
    distribution: str = "normal"
    scale_output_bias: bool = False

    def parameter(self, shape: Shape, role: Role, fan_in: int, kernel_area: int = 1, gain: float = 1) -> nnx.Param:
        """A parameter drawn by its rule, its std multiplied by `gain`."""
        rule = self.parametrization.rule(role, fan_in, kernel_area)
        drawn = _draw(self.distribution, self.rngs.params(), shape, rule.init_mean, gain * rule.init_std)
        return nnx.Param(drawn, role=role, fan_in=fan_in, kernel_area=kernel_area, gain=gain)

    def rule(self, role: Role, fan_in: int) -> RoleRule:
        """The row of the parametrization's table."""
        return self.parametrization.rule(role, fan_in)


class Dense(nnx.Module):
    """Affine layer x ↦ x·W·forward + b on the inputs' last axis, with init and multipliers of its role.

    Args:
        make: source of parameters.
        fan_in: size of the inputs' last axis.
        fan_out: size of the outputs' last axis.
        role: INPUT, HIDDEN or OUTPUT.
        gain: factor on the matrix's initial standard deviation.
    """

    def __init__(self, make: ParameterFactory, fan_in: int, fan_out: int, role: Role, gain: float = 1) -> None:
        self.kernel = make.parameter((fan_in, fan_out), role, fan_in, gain=gain)
        self.bias = make.parameter((fan_out,), Role.BIAS, fan_in)
        self.forward = make.rule(role, fan_in).forward
        self.bias_forward = self.forward if make.scale_output_bias and role is Role.OUTPUT else 1.0

    def linear(self, inputs: Array) -> Array:
        """[..., fan_in] → [..., fan_out] without the bias."""
        return inputs @ self.kernel[...] * self.forward

    def __call__(self, inputs: Array) -> Array:
        """[..., fan_in] → [..., fan_out]."""
        linear = self.linear(inputs)
        return linear + along(linear, self.bias[...] * self.bias_forward)


class Embedding(nnx.Module):
    """A vector of `size` entries for each of `count` integers."""

    def __init__(self, make: ParameterFactory, count: int, size: int) -> None:
        self.table = make.parameter((count, size), Role.EMBEDDING, count)

    def __call__(self, indices: Array) -> Array:
        """[...] integers below `count` → [..., size]."""
        return self.table[...][indices]


class Convolution(nnx.Module):
    """k×k convolution without bias, padded so that stride 1 keeps the image's size.

    Args:
        make: source of parameters.
        fan_in: input channels.
        fan_out: output channels.
        k: side of the kernel.
        role: INPUT or HIDDEN.
        stride: distance between neighbouring positions of the kernel.
    """

    def __init__(self, make: ParameterFactory, fan_in: int, fan_out: int, k: int, role: Role, stride: int = 1) -> None:
        # The factor 2 keeps variances through ReLUs (He et al. 2015, arXiv 1502.01852).
        self.kernel = make.parameter((k, k, fan_in, fan_out), role, fan_in, k * k, gain=sqrt(2))
        self.stride = stride

    def linear(self, inputs: Array) -> Array:
        """[batch, height, width, fan_in] → [batch, height/stride, width/stride, fan_out].

        A sum of matrix products, one per entry of the kernel: vmapped over trainings a convolution becomes one of
        groups, which XLA runs on CPUs as plain loops.
        """
        kernel, stride = self.kernel[...], self.stride
        size = len(kernel)
        sizes = [-(-length // stride) for length in inputs.shape[1:3]]
        margins = [_margin(old, new, size, stride) for old, new in zip(inputs.shape[1:3], sizes, strict=True)]
        padded = jnp.pad(inputs, ((0, 0), *margins, (0, 0)))

        def product(i: int, j: int) -> Array:
            rows, columns = (slice(at, at + stride * (n - 1) + 1, stride) for at, n in zip((i, j), sizes, strict=True))
            return padded[:, rows, columns] @ kernel[i, j]

        return sum((product(i, j) for i in range(size) for j in range(size)), start=jnp.float32(0))

    def __call__(self, inputs: Array) -> Array:
        """The same as `linear`."""
        return self.linear(inputs)


def _margin(old: int, new: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, as XLA's SAME places them."""
    total = max((new - 1) * stride + size - old, 0)
    return total // 2, total - total // 2


class Norm(nnx.Module):
    """Normalises to mean 0 and variance 1 with a gain and an offset per channel: LayerNorm and GroupNorm.

    Args:
        make: source of parameters.
        channels: size of the inputs' last axis.
        groups: None: statistics over the last axis (LayerNorm); else over groups of channels and all positions of an
            image (GroupNorm, Wu & He 2018, arXiv 1803.08494).
    """

    def __init__(self, make: ParameterFactory, channels: int, groups: int | None = None) -> None:
        self.gain = make.parameter((channels,), Role.NORM, channels)
        self.bias = make.parameter((channels,), Role.BIAS, channels)
        self.groups = groups

    def __call__(self, inputs: Array) -> Array:
        """[batch, ..., channels] → the same shape."""
        return self._standardized(inputs) * along(inputs, self.gain[...]) + along(inputs, self.bias[...])

    def _standardized(self, inputs: Array) -> Array:
        if self.groups is None:
            return jax.nn.standardize(inputs)
        grouped = inputs.reshape(len(inputs), prod(inputs.shape[1:-1]), self.groups, -1)
        return jax.nn.standardize(grouped, axis=(1, 3)).reshape(inputs.shape)


def along(like: Array, vector: Array) -> Array:
    """[channels] → [1, ..., channels] of the rank of `like`: `jax_numpy_rank_promotion` may forbid that implicitly."""
    return jnp.expand_dims(vector, tuple(range(like.ndim - 1)))


def run(network: Network, inputs: Array) -> Array:
    """[batch, ...] → logits."""
    *_, last = network.layers(inputs)
    return last.preactivation


def with_channels(images: Array) -> Array:
    """[batch, height, width] or [batch, height, width, channels] → the latter."""
    return images if images.ndim == 4 else images[..., None]


def layer(name: str, module: Any, inputs: Array) -> Layer:
    """What an affine layer of a network computes from its inputs."""
    return Layer(name, inputs, module(inputs), module.linear)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
}
