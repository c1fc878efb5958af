"""Multipliers of updates, looked up by path, and the dtypes that updates are computed in."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mulo import trees
from mulo.errors import MultiplierError
from mulo.types import Array, Multipliers, Params


def by_path(multipliers: Multipliers, tree: Any, of: Callable[[float], float] = float) -> Any:
    """The multiplier of every leaf, or what `of` takes from it, as a tree of floats like `tree`.

    The lookup goes by path, not by structure, so that `optax.masked` and `optax.multi_transform`, which hide some
    leaves from the optimizer, leave the rest in place.

    Raises:
        MultiplierError: a leaf has no multiplier; it is never taken to be 1 by silence.
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


def weight_decay_of(multiplier: float) -> float:
    """Its factor on the weight decay coefficient; 1 for a plain float."""
    return getattr(multiplier, "weight_decay", 1.0)


def epsilon_of(multiplier: float) -> float:
    """Its factor on Adam's ε; 1 for a plain float."""
    return getattr(multiplier, "epsilon", 1.0)


def decayed_weights(
    weight_decay: Array | float,
    multipliers: Multipliers,
    factor: Callable[[float, Array], float] = lambda c, update: c,
) -> optax.GradientTransformation:
    """`optax.add_decayed_weights`, its coefficient scaled for every parameter by its multiplier's weight decay.

    `factor` as in `under_multipliers`: what scales updates by another power of c does so here.
    """

    def add(updates: Any, params: Params) -> Any:
        scales = by_path(multipliers, updates, weight_decay_of)
        return jax.tree.map(lambda u, p, s: u + weight_decay * factor(s, u) * p, updates, params, scales)

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
