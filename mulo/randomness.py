"""All randomness comes from one root seed through named branches: same seed, same bits, resumed or not."""

import zlib

import jax
import jax.numpy as jnp

from mulo.types import Array


def root(seed: int) -> Array:
    """The key that everything random in a job descends from."""
    return jax.random.key(seed)


def branch(key: Array, *path: str | int | Array) -> Array:
    """Descends by names and numbers: `branch(root, "meta", step, "data")`; different paths give independent keys."""
    for part in path:
        key = jax.random.fold_in(key, zlib.crc32(part.encode()) if isinstance(part, str) else part)
    return key


def each(key: Array, count: int) -> Array:
    """[count] keys, the i-th being `branch(key, i)`: it does not depend on how many there are."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count, dtype=jnp.uint32))
