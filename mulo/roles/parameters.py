"""Reads a user's model: its parameters by path, and what each of their dimensions is where a module says so.

Axes are written as one letter per dimension: `i` is summed over (fan-in), `o` is not (fan-out), `w` is a convolution's
window, `s` a stack of independent layers.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from mulo import trees
from mulo.errors import RoleError

LINEN = "params"
"""The collection of Linen variables that holds parameters."""


class Parameter(NamedTuple):
    """One parameter of a model."""

    shape: tuple[int, ...]
    constant: float | None
    """The number that all entries of a vector or scalar are, where values are at hand and all the same."""
    axes: str | None
    """One letter per dimension, where a module of Flax NNX says it."""


def tree_of(model: Any) -> Any:
    """The pytree that holds the parameters of a module, variables or plain pytree."""
    return nnx.state(model, nnx.Param) if isinstance(model, nnx.Module) else model


def leaf_names(tree: Any) -> list[str | None]:
    """Path of every leaf as optimizers get to see it; None for leaves that are no parameters, such as statistics."""
    names: list[str | None] = list(trees.names(tree))
    if isinstance(tree, nnx.State):
        parameters = set(trees.names(nnx.filter_state(tree, nnx.Param)))
        return [name if name in parameters else None for name in names]
    if is_linen(tree):
        return [str(name).removeprefix(f"{LINEN}/") if _of_linen(name) else None for name in names]
    return names


def is_linen(tree: Any) -> bool:
    """Whether these are the variables that Linen's `init` returns, with parameters as one collection among others."""
    return isinstance(tree, Mapping) and isinstance(tree.get(LINEN), Mapping)


def _of_linen(name: str | None) -> bool:
    return str(name).startswith(f"{LINEN}/")


def parameters(model: Any) -> dict[str, Parameter]:
    """All parameters by path; of modules and states only `nnx.Param`, of Linen variables only `params`.

    Raises:
        RoleError: there is none, or one has no entries.
    """
    tree = tree_of(model)
    axes = dict(_axes_of_modules(model)) if isinstance(model, nnx.Module) else {}
    pairs = zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
    found = {name: Parameter(shape_of(x), _constant(x), axes.get(name)) for name, x in pairs if name is not None}
    if not found:
        raise RoleError("The model has no parameters: give a Flax NNX module, Linen variables or a pytree of arrays.")
    empty = [name for name, parameter in found.items() if 0 in parameter.shape]
    if empty:
        raise RoleError(f"{', '.join(empty)}: a dimension has size 0, so nothing can be scaled. Leave it out.")
    return found


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Shape of an array, of a description of one, or of a number."""
    return tuple(leaf.shape) if hasattr(leaf, "shape") else np.shape(leaf)


def _constant(leaf: Any) -> float | None:
    is_vector = isinstance(leaf, jax.Array | np.ndarray) and leaf.size == max(leaf.shape, default=1) > 0
    if not is_vector or isinstance(leaf, jax.core.Tracer) or not getattr(leaf, "is_fully_addressable", True):
        return None
    entries = np.ravel(leaf)
    return float(entries[0]) if np.all(entries == entries[0]) else None


def _axes_of_modules(model: nnx.Module) -> Iterator[tuple[str, str]]:
    modules: Iterator[tuple[Any, Any]] = nnx.iter_modules(model)
    for path, module in modules:
        axes = _kernel_axes(module)
        if axes is not None:
            rank = len(module.kernel.shape)
            yield "/".join([*map(str, path), "kernel"]), axes.rjust(rank, "s")


def _kernel_axes(module: Any) -> str | None:
    match module:
        case nnx.Linear():
            return "io"
        case nnx.LinearGeneral():
            return "s" * len(module.batch_axis) + "i" * len(module.in_features) + "o" * len(module.out_features)
        case nnx.Conv() | nnx.ConvTranspose():
            window = "w" * len(np.atleast_1d(module.kernel_size))
            return window + ("oi" if getattr(module, "transpose_kernel", False) else "io")
        case nnx.Einsum():
            return _einsum_axes(module.einsum_str)
        case _:
            return None


def _einsum_axes(equation: str) -> str:
    """What the dimensions of the second operand are."""
    operands, result = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return "".join("o" if axis not in inputs else "s" if axis in result else "i" for axis in kernel)
