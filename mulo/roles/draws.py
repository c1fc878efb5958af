"""Initial values of one parameter, in the dtype and the layout over devices of the array that they replace."""

from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding

from mulo.placement import alike
from mulo.randomness import branch
from mulo.roles.parameters import has_values
from mulo.roles.rows import Row
from mulo.types import Array


def is_special(row: Row, leaf: Any) -> bool:
    """Whether the table saw no values of it, and those here are not the ones that its kind starts with."""
    is_open = row.kept is None and has_values(leaf)
    return is_open and not np.all(np.asarray(leaf) == row.start)


def draw(row: Row, leaf: Any, key: Array) -> Any:
    """What `initialize` puts in place of the leaf.

    Args:
        row: what it is.
        leaf: array, NumPy array or description of one.
        key: its draw depends on the key and its path alone, not on dtypes, devices or the width of JAX's numbers.

    Returns:
        The leaf itself where it is kept, otherwise an array with its dtype and sharding.
    """
    if row.rule is None or row.kept or is_special(row, leaf):
        return leaf
    with _beside(leaf):
        fresh = _like(leaf, _fresh(row, leaf, key))
    if row.kept is None and isinstance(leaf, jax.Array) and not has_values(leaf):  # decided when the program runs
        return jnp.where(jnp.all(leaf == row.start), fresh, leaf)
    return fresh


def _fresh(row: Row, leaf: Any, key: Array) -> Array:
    rule, dtype, sharding = row.rule, jax.dtypes.canonicalize_dtype(jnp.result_type(leaf)), _mesh_sharding(leaf)
    assert rule is not None
    if rule.init_std == 0:
        return jnp.full(row.shape, rule.init_mean, dtype, device=sharding)
    jitted = jax.jit(_normal, static_argnums=(2, 3), out_shardings=sharding)
    return jitted(_without_device(branch(key, row.path)), rule.init_std, row.shape, dtype)


def _normal(key: Array, std: float, shape: tuple[int, ...], dtype: Any) -> Array:
    return (std * jax.random.normal(key, shape, jnp.float32)).astype(dtype)


def _without_device(key: Array) -> Array:
    """The same key, committed to no device."""
    if isinstance(key, jax.core.Tracer):
        return key
    data: Any = np.asarray(jax.random.key_data(key))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def _beside(leaf: Any) -> Any:
    """Where the leaf is on a device but not committed to it: that device is the default during the draw."""
    is_free = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and not leaf.committed
    return jax.default_device(leaf.device) if is_free else nullcontext()


def _mesh_sharding(leaf: Any) -> NamedSharding | None:
    """The layout over a mesh, so that no device has to hold all of a draw."""
    sharding = None if isinstance(leaf, jax.core.Tracer) else getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding):
        return None
    is_abstract = isinstance(sharding.mesh, AbstractMesh) and jax.sharding.get_abstract_mesh().empty
    return None if is_abstract else sharding


def _like(leaf: Any, fresh: Array) -> Any:
    if isinstance(leaf, jax.core.Tracer):
        return _alike(leaf, fresh)
    if isinstance(leaf, np.ndarray | np.generic):
        return fresh if isinstance(fresh, jax.core.Tracer) else np.asarray(fresh, leaf.dtype)
    if not isinstance(leaf, jax.Array) or leaf.sharding == fresh.sharding or not leaf.committed:
        return fresh
    return jax.device_put(fresh, leaf.sharding)


def _alike(leaf: Array, fresh: Array) -> Array:
    """Inside a compiled program: the layout of its type where a mesh is set, else the one the compiler chooses."""
    if not jax.sharding.get_abstract_mesh().empty:
        fresh = jax.sharding.reshard(fresh, jax.typeof(leaf).sharding)
    return alike(fresh, leaf)
