"""From the direction that a learned rule gives to the step that is taken: normalisation, size, weight decay."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.lax import rsqrt

from mulo.optimizers.per_parameter import PerParameterMLP
from mulo.optimizers.step_sizes import sizes_of
from mulo.placement import laid_out_alike
from mulo.sharding import WHOLE, Shard
from mulo.types import Array, Multiplier, Theta

RMS_EPS = 1e-9

Move = Callable[..., Array]
"""From direction, parameter, multiplier, layout and the tensor's own factor to the update without its multiplier."""


def normalized(direction: Array, shard: Shard = WHOLE, axes: tuple[int, ...] | None = None) -> Array:
    """The direction with RMS 1 over the axes; None: over the tensor."""
    return direction * rsqrt(shard.mean(jnp.square(direction), axes, keepdims=True) + RMS_EPS)


def moves(optimizer: PerParameterMLP, theta: Theta, num_steps: Array, step: Array, normalize: bool) -> Move:
    """The step that tensors take at this point of a training."""
    rate: Any = optimizer.rates(num_steps)(step)
    size = sizes_of(theta, num_steps, step)

    def move(direction: Array, p: Array, c: Multiplier, shard: Shard, factor: Array | float = 1.0) -> Array:
        if normalize:
            direction = laid_out_alike(partial(normalized, shard=shard), (direction,), direction)
        moved = -(rate * size(c, p.ndim) * factor) * direction
        if not optimizer.weight_decay:
            return moved
        return moved - rate * optimizer.weight_decay * c.weight_decay ** optimizer.power(c, p.ndim) * p

    return move
