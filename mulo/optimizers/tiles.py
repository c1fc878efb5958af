"""Runs an elementwise function over a tensor tile by tile, so that what it computes on the way stays in cache."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mulo.types import Array


def over_tiles(f: Callable[[Any], Array], inputs: Any, out: Array, size: int) -> Array:
    """`f(inputs)`, computed in tiles of about `size` entries.

    Args:
        f: elementwise along the tensor's dimensions; from leaves [..., *tile] to [*tile].
        inputs: pytree of arrays [K, *shape], in which dimensions may be 1 where the input does not vary.
        out: [*shape], float32, of which every entry is overwritten.
        size: entries of a tile; a tensor with no more than these is one tile.

    Returns:
        [*shape], float32.
    """
    shape = out.shape
    axis, block = tile(shape, size)
    if block == 0:
        return f(inputs)
    counts = (*shape[:axis], math.ceil(shape[axis] / block))
    sizes = (*(1,) * axis, block, *shape[axis + 1 :])

    def body(index: Array, out: Array) -> Array:
        *lead, last = jnp.unravel_index(index, counts)
        # The last tile ends with the tensor and may repeat some entries of the one before: nothing is updated in place.
        start: list[Any] = [*lead, jnp.minimum(last * block, shape[axis] - block), *(0,) * (len(shape) - axis - 1)]
        part = jax.tree.map(lambda x: _slice(x, start, sizes), inputs)
        return jax.lax.dynamic_update_slice(out, f(part).reshape(sizes), start)

    return jax.lax.fori_loop(0, math.prod(counts), body, out)


def tile(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """(axis, block): tiles are `block` long along `axis`, 1 before it, whole after it; block 0: one tile."""
    if math.prod(shape) <= size:
        return 0, 0
    axis = next(a for a in range(len(shape)) if math.prod(shape[a + 1 :]) <= size)
    block = max(1, size // math.prod(shape[axis + 1 :]))
    return axis, math.ceil(shape[axis] / math.ceil(shape[axis] / block))


def _slice(x: Array, start: list[Any], sizes: tuple[int, ...]) -> Array:
    """Cuts [K, *shape with some 1s]; dimensions of 1 stay."""
    wide = [n > 1 for n in x.shape[1:]]
    starts = [s if w else 0 for s, w in zip(start, wide, strict=True)]
    cut = [n if w else 1 for n, w in zip(sizes, wide, strict=True)]
    return jax.lax.dynamic_slice(x, [0, *starts], [x.shape[0], *cut])
