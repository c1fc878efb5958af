"""Multipliers of updates, looked up by path, and the dtypes that updates are computed in."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mulo import trees
from mulo.errors import MultiplierError
from mulo.types import Array, Multiplier, Multipliers, Params

Power = Callable[[Multiplier | float, int], float]
"""Which power of a multiplier a rule's updates take, by the multiplier and the rank (`Optimizer.power`)."""


def by_path(multipliers: Multipliers, tree: Any, of: Callable[[Any], Any] = float) -> Any:
    """The multiplier of every leaf, or what `of` takes from it, as a tree like `tree`.

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
    return jax.tree.unflatten(jax.tree.structure(tree), [of(multipliers[path]) for path in paths])


def weight_decay_of(multiplier: Multiplier | float) -> float:
    """Its factor on the weight decay coefficient; 1 for a plain float."""
    return getattr(multiplier, "weight_decay", 1.0)


def epsilon_of(multiplier: Multiplier | float) -> float:
    """Its factor on Adam's ε; 1 for a plain float."""
    return getattr(multiplier, "epsilon", 1.0)


def _elementwise(multiplier: Multiplier | float, rank: int) -> float:
    return 1.0


def scale_by_multipliers(multipliers: Multipliers, power: Power = _elementwise) -> optax.GradientTransformation:
    """Every update times the power of its parameter's multiplier that its rule takes."""

    def scale(updates: Any, params: Params) -> Any:
        del params
        return scaled(updates, multipliers, power)

    return optax.stateless(scale)


def scaled(updates: Any, multipliers: Multipliers, power: Power) -> Any:
    """The updates times powers of their multipliers."""

    def scale(u: Array, c: Multiplier | float) -> Array:
        return float(c) ** power(c, u.ndim) * u

    return jax.tree.map(scale, updates, by_path(multipliers, updates, lambda c: c))


def decayed_weights(
    weight_decay: Array | float, multipliers: Multipliers, power: Power = _elementwise
) -> optax.GradientTransformation:
    """`optax.add_decayed_weights`, its coefficient scaled for every parameter by its multiplier's weight decay."""

    def add(updates: Any, params: Params) -> Any:
        def decayed(u: Array, p: Array, c: Multiplier | float) -> Array:
            return u + weight_decay * weight_decay_of(c) ** power(c, u.ndim) * p

        return jax.tree.map(decayed, updates, params, by_path(multipliers, updates, lambda c: c))

    return optax.stateless(add)


def scaled_epsilon(multipliers: Multipliers) -> optax.GradientTransformation:
    """Before Adam's rule: the gradient over e, with which ε acts as e·ε, e being the multiplier's factor on it."""

    def divide(updates: Any, params: Params) -> Any:
        del params
        return jax.tree.map(lambda u, e: u / e, updates, by_path(multipliers, updates, epsilon_of))

    return optax.stateless(divide)


def float32(tree: Any) -> Any:
    """Casts every leaf: optimizers compute in float32 whatever the parameters are kept in."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def cast_like(updates: Any, like: Any) -> Any:
    """Gives every leaf the dtype found at the same place of `like`."""
    return jax.tree.map(lambda update, x: update.astype(x.dtype), updates, like)


def unzip(pairs: Any, like: Any) -> tuple[Any, Any]:
    """From a tree of pairs, one pair at each leaf of `like`, to a pair of trees."""
    first, second = (jax.tree.map(lambda _, pair, i=i: pair[i], like, pairs) for i in range(2))
    return first, second
