"""Reads a user's model: its parameters by path, and what each of their dimensions is where a module states it.

Axes are written as one letter per dimension: `i` is summed over (fan-in), `o` is not (fan-out), `w` is a convolution's
window, `s` a stack of independent layers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from mulo import trees
from mulo.errors import RoleError
from mulo.roles.modules import Modules

LINEN = "params"
"""The collection of Linen variables that holds parameters."""


class Parameter(NamedTuple):
    """One parameter of a model."""

    shape: tuple[int, ...]
    values: Any
    """The array, where its values are at hand."""
    axes: str | None
    """One letter per dimension, where a module of Flax states it."""
    seen: bool
    """Whether a module of the user's own holds it, as opposed to an array of which nothing is known."""

    @property
    def constant(self) -> float | None:
        """The number that all entries of a vector or scalar are, where values are at hand and all the same."""
        if self.values is None or np.size(self.values) != max(self.shape, default=1):
            return None
        first = np.ravel(self.values)[0]
        return float(first) if self.is_everywhere(first) else None

    def is_everywhere(self, number: float) -> bool | None:
        """Whether all entries are this number; None where values are not at hand."""
        return None if self.values is None else bool(np.all(np.asarray(self.values) == number))


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
        return [str(name).removeprefix(f"{LINEN}/") if str(name).startswith(f"{LINEN}/") else None for name in names]
    return names


def is_linen(tree: Any) -> bool:
    """Whether these are variables that Linen's `init` returns, with parameters as one collection among others."""
    return isinstance(tree, Mapping) and isinstance(tree.get(LINEN), Mapping)


def parameters(tree: Any, modules: Modules | None = None) -> dict[str, Parameter]:
    """All parameters by path; of modules and states only `nnx.Param`, of Linen variables only `params`.

    Args:
        tree: an NNX module, state, variables or pytree.
        modules: what is known of the modules that the parameters are of.

    Raises:
        RoleError: there is none, or one has no entries.
    """
    if isinstance(tree, nn.Module):
        raise RoleError("A Linen module has no parameters of its own: give its variables, such as its `init` returns.")
    modules, tree = modules or Modules(), tree_of(tree)
    pairs = zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
    by_path = {name: _parameter(name, leaf, modules) for name, leaf in pairs if name is not None}
    if not by_path:
        raise RoleError("The model has no parameters: give a Flax NNX module, Linen variables or a pytree of arrays.")
    empty = [name for name, parameter in by_path.items() if 0 in parameter.shape]
    if empty:
        raise RoleError(f"{', '.join(empty)}: a dimension has size 0, so nothing can be scaled. Leave it out.")
    return by_path


def _parameter(path: str, leaf: Any, modules: Modules) -> Parameter:
    shape = shape_of(leaf)
    return Parameter(shape, leaf if has_values(leaf) else None, modules.axes(path, shape), modules.holds(path))


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Shape of an array, of a description of one, or of a number."""
    return tuple(leaf.shape) if hasattr(leaf, "shape") else np.shape(leaf)


def has_values(leaf: Any) -> bool:
    """Whether it is an array or number whose entries this process can look at."""
    if isinstance(leaf, jax.core.Tracer) or not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
        return False
    return bool(getattr(leaf, "is_fully_addressable", True))
