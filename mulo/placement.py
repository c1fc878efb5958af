"""Where whole arrays live: results of a function are laid out over devices as its arguments are.

Inside a program compiled for several devices XLA's partitioner decides where work is done. Around the native kernel,
which it cannot see into, and loops that it does not share out, the layout of results has to be stated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AbstractMesh, AxisType

from mulo import sharding
from mulo.types import Array


def laid_out_alike(f: Callable[..., Any], arguments: tuple[Any, ...], like: Any) -> Any:
    """`f(*arguments)`, its results laid out as the arrays of `like` are, a tree of their structure.

    Under explicit axes every operation has to state how its result is laid out; here `f` leaves that to the
    partitioner. All traced values that `f` uses must be among its arguments.
    """
    if jax.device_count() == 1 or sharding.manual_devices() > 1:
        return f(*arguments)
    mesh = _explicit_mesh(arguments)
    if mesh is None:
        return jax.tree.map(alike, f(*arguments), like)
    specs = jax.tree.map(lambda x: jax.typeof(x).sharding.spec, like)
    with jax.sharding.use_abstract_mesh(mesh):
        return jax.sharding.auto_axes(f, out_sharding=specs)(*arguments)


def _explicit_mesh(tree: Any) -> AbstractMesh | None:
    meshes = (jax.typeof(x).sharding.mesh for x in jax.tree.leaves(tree))
    return next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)


def alike(array: Array, like: Array) -> Array:
    """The array, laid out as another of the same shape is, also where that is known to the compiler only."""
    if isinstance(array, jax.core.Tracer) or isinstance(like, jax.core.Tracer):
        return _traced(array, like)
    return jax.device_put(array, like.sharding) if like.committed else array


@jax.custom_jvp
def _traced(array: Array, like: Array) -> Array:
    return _of_batches(array, like)


@_traced.defjvp
def _traced_jvp(primals: Any, tangents: Any) -> Any:
    return _traced(*primals), tangents[0]


@custom_vmap
def _of_batches(array: Array, like: Array) -> Array:
    return _partitioned(array, like)


@_of_batches.def_vmap
def _batched(size: int, batched: list[bool], array: Array, like: Array) -> tuple[Array, bool]:
    pairs = zip((array, like), batched, strict=True)
    return _of_batches(*(x if has else jnp.broadcast_to(x, (size, *x.shape)) for x, has in pairs)), True


@custom_partitioning
def _partitioned(array: Array, like: Array) -> Array:
    del like
    return array


def _partition(mesh: Any, arguments: Any, result: Any) -> Any:
    del result
    layout = arguments[1].sharding
    return mesh, lambda array, like: array, layout, (layout, layout)


def _rule(mesh: Any, arguments: Any, result: Any) -> str:
    """Dimension by dimension the three are laid out alike."""
    del mesh, result
    axes = " ".join(f"d{axis}" for axis in range(len(arguments[0].shape)))
    return f"{axes}, {axes} -> {axes}"


_partitioned.def_partition(_partition, sharding_rule=_rule)
