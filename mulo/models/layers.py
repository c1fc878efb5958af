"""The layers that all optimizees are made of; each parameter carries its role and fan-in as metadata."""

from collections.abc import Callable

import jax
from flax import nnx

from mulo.parametrization import Parametrization, Role
from mulo.types import Array


def _draw(distribution: str, key: Array, shape: tuple[int, ...], mean: float, std: float) -> Array:
    if std == 0:
        return jax.numpy.full(shape, mean, jax.numpy.float32)
    if distribution == "truncated_normal":
        return mean + std * jax.random.truncated_normal(key, -2.0, 2.0, shape)
    return mean + std * jax.random.normal(key, shape)


class Dense(nnx.Module):
    """Affine layer x ↦ x·W·forward + b with init and multipliers of its role.

    Args:
        fan_in: size of the inputs' last axis.
        fan_out: size of the outputs' last axis.
        role: INPUT, HIDDEN or OUTPUT.
        scheme: parametrization that turns the role into numbers.
        distribution: `normal`, or `truncated_normal` (cut at 2 std, variance not corrected).
        scale_bias: applies the forward multiplier to the bias too.
        rngs: source of the parameters' randomness.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        role: Role,
        scheme: Parametrization,
        *,
        distribution: str = "normal",
        scale_bias: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        matrix, bias = scheme.rule(role, fan_in), scheme.rule(Role.BIAS, fan_in)
        kernel = _draw(distribution, rngs.params(), (fan_in, fan_out), matrix.init_mean, matrix.init_std)
        self.kernel = nnx.Param(kernel, role=role, fan_in=fan_in)
        offset = _draw(distribution, rngs.params(), (fan_out,), bias.init_mean, bias.init_std)
        self.bias = nnx.Param(offset, role=Role.BIAS, fan_in=fan_in)
        self.forward = matrix.forward
        self.bias_forward = matrix.forward if scale_bias else 1.0

    def linear(self, inputs: Array) -> Array:
        """[batch, fan_in] → [batch, fan_out] without the bias."""
        return inputs @ self.kernel[...] * self.forward

    def __call__(self, inputs: Array) -> Array:
        """[batch, fan_in] → [batch, fan_out]."""
        return self.linear(inputs) + self.bias[...] * self.bias_forward


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "tanh": jax.numpy.tanh,
}
