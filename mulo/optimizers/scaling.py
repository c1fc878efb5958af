"""Multipliers of updates, looked up by path."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from mulo import trees
from mulo.errors import MultiplierError
from mulo.types import Array, Multiplier, Multipliers

Power = Callable[[Multiplier, int], float]
"""Which power of a multiplier a rule's updates take, by the multiplier and the rank (`Optimizer.power`)."""


def record(multiplier: Multiplier | float) -> Multiplier:
    """A plain float is a multiplier of which nothing else is known."""
    return multiplier if isinstance(multiplier, Multiplier) else Multiplier(float(multiplier))


def by_path(multipliers: Multipliers, tree: Any) -> Any:
    """The multiplier of every leaf, as a tree of records like `tree`.

    The lookup goes by path, not by structure, so that `optax.masked` and `optax.multi_transform`, which hide some
    leaves from the optimizer, leave the rest in place.

    Raises:
        MultiplierError: a leaf has no multiplier; it never defaults to 1.
    """
    paths = trees.names(tree)
    missing = [path for path in paths if path not in multipliers]
    if missing:
        known = ", ".join(sorted(multipliers)[:8]) or "nothing"
        raise MultiplierError(
            f"No update multiplier is given for {', '.join(missing)}: every parameter needs one, 1.0 where its update "
            f"is not scaled. Multipliers are there for: {known}."
        )
    return jax.tree.unflatten(jax.tree.structure(tree), [record(multipliers[path]) for path in paths])


def scaled(updates: Any, multipliers: Multipliers, power: Power) -> Any:
    """The updates times powers of their multipliers."""

    def scale(u: Array, c: Multiplier) -> Array:
        return c.update ** power(c, u.ndim) * u

    return jax.tree.map(scale, updates, by_path(multipliers, updates))


def decayed_weights(decay: Array | float, multipliers: Multipliers, power: Power) -> optax.GradientTransformation:
    """`optax.add_decayed_weights`, its coefficient scaled for every parameter by its multiplier's weight decay."""

    def add(u: Array, p: Array, c: Multiplier) -> Array:
        return u + decay * c.weight_decay ** power(c, u.ndim) * p

    return optax.stateless(lambda updates, params: jax.tree.map(add, updates, params, by_path(multipliers, updates)))


def scaled_epsilon(multipliers: Multipliers) -> optax.GradientTransformation:
    """Before Adam's rule: the gradient over e, with which ε acts as e·ε, e being the multiplier's factor on it."""
    return optax.stateless(
        lambda updates, params: jax.tree.map(lambda u, c: u / c.epsilon, updates, by_path(multipliers, updates))
    )
