"""A vmapped function applied batch by batch, so that what it computes on the way exists for one batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def batched(f: Callable[[Any, Any], tuple[Any, Any]], state: Any, arguments: Any, size: int) -> tuple[Any, Any]:
    """`f(state, arguments)` in batches of `size` entries; the state's new entries are written over the old ones.

    Args:
        f: acts on every entry of the leading axis alone; from (state, arguments) to (new state, results).
        state: pytree of arrays [entries, ...]; where it is donated, no second copy of it is made.
        arguments: pytree of arrays [entries, ...].
        size: divides the number of entries.

    Returns:
        The new state and the results, each leaf [entries, ...].
    """
    entries = len(jax.tree.leaves(arguments)[0])
    if size == entries:
        return f(state, arguments)
    shapes = jax.eval_shape(f, state, arguments)[1]
    results = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def body(index: jax.Array, whole: tuple[Any, Any]) -> tuple[Any, Any]:
        batch = (_cut(tree, index * size, size) for tree in (whole[0], arguments))
        return jax.tree.map(lambda x, part: _put(x, part, index * size), whole, f(*batch))

    return jax.lax.fori_loop(np.int32(0), np.int32(entries // size), body, (state, results))


def _cut(tree: Any, start: jax.Array, size: int) -> Any:
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), tree)


def _put(x: jax.Array, part: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x, part, start, 0)
