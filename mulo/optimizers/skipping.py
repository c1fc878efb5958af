"""Leaving out steps that would spoil a training for good: one infinite average never becomes finite again."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulo import sharding
from mulo.sharding import Shard, Shards
from mulo.types import Array, Params


class SkippingState(NamedTuple):
    """The optimizer's own state, and how many steps were skipped."""

    inner: Any
    skipped: Array


def skipping(
    init_fn: Callable[[Params], Any], update_fn: Callable[..., Any]
) -> tuple[Callable[[Params], SkippingState], Callable[..., Any]]:
    """The same pair of functions, which skip steps whose loss or sum of squared gradients is not finite in float32.

    From a gradient of about 1e19 on its square overflows, and no average could hold it. A skipped step moves no
    parameter, leaves the optimizer's state as it was, and is counted.
    """

    def init(params: Params) -> SkippingState:
        return SkippingState(init_fn(params), jnp.int32(0))

    def update(
        updates: Any, state: SkippingState, params: Params, *, value: Array | None, shards: Shards | None, **extra: Any
    ) -> tuple[Any, SkippingState]:
        def step(inner: Any) -> tuple[Any, Any]:
            return update_fn(updates, inner, params, value=value, shards=shards, **extra)

        def skip(inner: Any) -> tuple[Any, Any]:
            return jax.tree.map(jnp.zeros_like, updates), inner

        sound = _sound(updates, value, shards)
        moved, inner = jax.lax.cond(sound, step, skip, state.inner)
        return moved, SkippingState(inner, state.skipped + (~sound).astype(jnp.int32))

    return init, update


def _sound(gradients: Any, loss: Array | None, shards: Shards | None) -> Array:
    def squares(g: Array, shard: Shard) -> Array:
        return shard.total(jnp.sum(jnp.square(g.astype(jnp.float32))))

    sums = jax.tree.map(squares, gradients, sharding.by_path(shards, gradients))
    return jnp.isfinite(sum(jax.tree.leaves(sums), jnp.float32(0) if loss is None else loss))
