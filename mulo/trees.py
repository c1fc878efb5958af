"""The few pytree helpers that jax and optax lack."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.core.meta import AxisMetadata

from mulo import distributed
from mulo.types import Array


def path_name(path: tuple[Any, ...]) -> str:
    """Writes a pytree path as `layer/kernel`, the name under which multipliers and roles are kept."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def names(tree: Any) -> list[str]:
    """Path names of all leaves, in pytree order.

    Flax's boxes (`nnx.Variable`, `nn.Partitioned`) are not part of a name: the state of a module, its pure dictionary
    and what `nnx.Optimizer` passes on have the same names. Both parts of a complex array have its name.
    """
    paths: list[str] = []
    for path, node in jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_box)[0]:
        within = [inner for inner, _ in jax.tree_util.tree_flatten_with_path(node)[0]]
        paths += [path_name(path + inner[_is_box(node) :]) for inner in within]
    return paths


class Complex(NamedTuple):
    """A complex array as two real ones."""

    real: Any
    imaginary: Any


def _is_box(node: Any) -> bool:
    return isinstance(node, nnx.Variable | AxisMetadata | Complex)


def unzip(pairs: Any, like: Any) -> tuple[Any, Any]:
    """From a tree of pairs, one pair at each leaf of `like`, to a pair of trees."""
    first, second = (jax.tree.map(lambda _, pair, i=i: pair[i], like, pairs) for i in range(2))
    return first, second


def where(mask: Array, yes: Any, no: Any) -> Any:
    """Chooses whole entries along the leading axes that `mask` has; every leaf starts with those axes."""

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(choose, yes, no)


def random_normal(key: Array, like: Any) -> Any:
    """Standard normal leaves shaped like `like`, cut from one draw: a draw per leaf multiplies compile time."""
    leaves, treedef = jax.tree.flatten(like)
    ends = np.cumsum([jnp.size(x) for x in leaves])
    parts = jnp.split(jax.random.normal(key, (int(ends[-1]),), jnp.float32), ends[:-1])
    return jax.tree.unflatten(treedef, [part.reshape(jnp.shape(x)) for part, x in zip(parts, leaves, strict=True)])


@dataclass(frozen=True)
class Weight:
    """How an array of initial weights is drawn: truncated normal at two standard deviations, or zeros for std 0."""

    shape: tuple[int, ...]
    std: float = 0.0


def draw_weights(key: Array, weights: Any) -> Any:
    """Replaces every `Weight` of a tree by an array, cut from one draw."""
    leaves, treedef = jax.tree.flatten(weights)
    sizes = [math.prod(leaf.shape) if leaf.std else 0 for leaf in leaves]
    parts = jnp.split(jax.random.truncated_normal(key, -2.0, 2.0, (sum(sizes),), jnp.float32), np.cumsum(sizes)[:-1])
    drawn = [
        leaf.std * part.reshape(leaf.shape) if leaf.std else jnp.zeros(leaf.shape, jnp.float32)
        for leaf, part in zip(leaves, parts, strict=True)
    ]
    return jax.tree.unflatten(treedef, drawn)


def digest(tree: Any) -> str:
    """SHA-256 over the paths, shapes, dtypes and bytes of all leaves, as 64 hex digits."""
    checksum = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = distributed.on_host(leaf)
        checksum.update(f"{path_name(path)} {array.shape} {array.dtype}".encode())
        checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()
