"""Tensors shared out among the devices of one mesh axis: each device holds an equal part of one of their dimensions.

Inside `jax.shard_map` a device sees its parts only. What an update needs to know of the rest are means over tensors,
which are means of the parts' means. How a tensor is laid out is data beside the parameters, looked up by path as
multipliers are, and reaches `update` as its extra argument `shards=`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from mulo import trees
from mulo.types import Array

AXIS = "model"
"""The mesh axis that parts of tensors are laid out along."""


@dataclass(frozen=True)
class Shard:
    """How one tensor is laid out.

    The dimension is counted from the end, so that it is the same in arrays with leading axes of their own. Parts are
    at least two long: in a part, a dimension of 1 is one along which the array does not vary.
    """

    dimension: int | None = None
    """Which one is shared out, negative; None: every device holds the whole tensor."""
    length: int = 1
    """Of that dimension in the whole tensor."""

    def whole(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the tensor of which a device holds a part of this shape."""
        if self.dimension is None:
            return tuple(shape)
        axis = len(shape) + self.dimension
        return (*shape[:axis], self.length, *shape[axis + 1 :])

    def splits(self, shape: Sequence[int]) -> bool:
        """Whether an array [..., *shape with some dimensions 1] beside the tensor is shared out as it is."""
        return self.dimension is not None and len(shape) >= -self.dimension and shape[self.dimension] > 1

    def mean(self, x: Array, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """`x.mean(axes, keepdims)` of the whole array, from this device's part of it."""
        mean = x.mean(axes, keepdims=keepdims)
        return jax.lax.pmean(mean, AXIS) if self._crossed(x, axes) else mean

    def total(self, x: Array) -> Array:
        """The sum over all parts of a number counted on each."""
        return x if self.dimension is None else jax.lax.psum(x, AXIS)

    def varying(self, x: Array) -> Array:
        """The same values, typed as parts that differ between devices: what a loop's carry must be from its start."""
        return x if self.dimension is None else jax.lax.pcast(x, AXIS, to="varying")

    def gather(self, x: Array) -> Array:
        """The whole array, on every device."""
        if self.dimension is None:
            return x
        return jax.lax.all_gather(x, AXIS, axis=x.ndim + self.dimension, tiled=True)

    def part(self, x: Array) -> Array:
        """This device's part of a whole array."""
        if self.dimension is None:
            return x
        size = self.length // jax.lax.axis_size(AXIS)
        return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(AXIS) * size, size, x.ndim + self.dimension)

    def _crossed(self, x: Array, axes: int | tuple[int, ...] | None) -> bool:
        over = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
        return self.splits(x.shape) and self.dimension in {axis % x.ndim - x.ndim for axis in over}


WHOLE = Shard()
Shards: TypeAlias = Mapping[str, Shard]
"""The layout of every parameter, by its path."""


def choose(shape: Sequence[int], devices: int) -> Shard:
    """Shares out the largest dimension that the devices divide evenly, the last of equals; never that of a vector."""
    fitting = [i for i, n in enumerate(shape) if n % devices == 0 and n > devices]
    if len(shape) < 2 or not fitting:
        return WHOLE
    axis = max(fitting, key=lambda i: (shape[i], i))
    return Shard(axis - len(shape), shape[axis])


def layout(params: Any, devices: int) -> Shards:
    """How every parameter of a tree of whole arrays is laid out."""
    leaves = jax.tree.leaves(params)
    return {name: choose(jnp.shape(x), devices) for name, x in zip(trees.names(params), leaves, strict=True)}


def by_path(shards: Shards | None, tree: Any) -> Any:
    """The layout of every leaf, as a tree like `tree`; None: all are whole."""
    layouts = [WHOLE if shards is None else shards[name] for name in trees.names(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), layouts)


def specs(tree: Any, shards: Shards) -> Any:
    """PartitionSpecs of a tree that holds trees of the parameters' structure, such as an optimizer's state.

    A leaf belongs to the parameter whose path lies within its own (the longest such path); it may have leading axes,
    and is whole where it has length 1 along the dimension shared out. Leaves beside parameters are whole.
    """
    known = {tuple(name.split("/")): shard for name, shard in shards.items()}

    def spec(path: tuple[Any, ...], x: Any) -> PartitionSpec:
        shard = _owner(tuple(trees.path_name(path).split("/")), known)
        if not shard.splits(x.shape):
            return PartitionSpec()
        return PartitionSpec(*(AXIS if axis - x.ndim == shard.dimension else None for axis in range(x.ndim)))

    return jax.tree_util.tree_map_with_path(spec, tree)


def _owner(path: tuple[str, ...], known: Mapping[tuple[str, ...], Shard]) -> Shard:
    pieces = (path[i:j] for i in range(len(path)) for j in range(i + 1, len(path) + 1))
    return known.get(max((piece for piece in pieces if piece in known), key=len, default=()), WHOLE)


def manual_devices() -> int:
    """Among how many devices the surrounding `jax.shard_map` may have shared out what is seen here; 1 outside of it."""
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(mesh.shape[axis] for axis in mesh.manual_axes)


def may_be_part(shape: Sequence[int], whole: Sequence[int]) -> bool:
    """Whether an array of this shape is the whole or, inside `jax.shard_map`, can be a device's part of it."""
    devices = manual_devices()
    return len(shape) == len(whole) and all(
        size == total or (size > 0 and total % size == 0 and devices % (total // size) == 0)
        for size, total in zip(shape, whole, strict=True)
    )
