"""What every optimizer here does around its own rule: look up multipliers by path, demand what it needs."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mulo import trees
from mulo.errors import MultiplierError
from mulo.types import Array, Multipliers, Params

T = TypeVar("T")


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


def transformation(init_fn: Callable[..., Any], update_fn: Callable[..., Any]) -> optax.GradientTransformationExtraArgs:
    """The pair of functions as optax's; they see an `nnx.State` as nested dictionaries of arrays.

    `nnx.Optimizer` hands on boxed parameters at `init` and bare ones at `update`, and keeps an optimizer's state array
    by array: NamedTuples of moments inside its boxes would come back as dictionaries.
    """

    def init(params: Params) -> optax.OptState:
        return init_fn(_plain(params))

    def update(
        updates: Any, state: optax.OptState, params: Params | None = None, **extra: Any
    ) -> tuple[Any, optax.OptState]:
        moved, state = update_fn(_plain(updates), state, _plain(params), **extra)
        return jax.tree.unflatten(jax.tree.structure(updates), jax.tree.leaves(moved)), state

    return optax.GradientTransformationExtraArgs(init, update)


def _plain(tree: Any) -> Any:
    return nnx.to_pure_dict(tree) if isinstance(tree, nnx.State) else tree


def required(value: T | None, name: str, optimizer: str) -> T:
    """The value; raises TypeError naming the argument of `update` that was left out."""
    if value is None:
        raise TypeError(f"{optimizer} needs `{name}`: call update(gradients, state, params, value=loss).")
    return value


def float32(tree: Any) -> Any:
    """Casts every leaf: optimizers compute in float32 whatever the parameters are kept in."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def cast_like(updates: Any, like: Any) -> Any:
    """Gives every leaf the dtype found at the same place of `like`."""
    return jax.tree.map(lambda update, x: update.astype(x.dtype), updates, like)


def under_multipliers(
    chain: optax.GradientTransformation,
    multipliers: Multipliers,
    optimizer: str,
    factor: Callable[[float, Array], float] = lambda c, update: c,
) -> optax.GradientTransformationExtraArgs:
    """Runs a chain in float32 and scales its updates by `factor(multiplier, update)`; `optimizer` is for errors."""

    def init_fn(params: Params) -> optax.OptState:
        by_path(multipliers, params)
        return chain.init(float32(params))

    def update_fn(
        updates: Any, state: optax.OptState, params: Params | None = None, **extra: Any
    ) -> tuple[Any, optax.OptState]:
        params = float32(required(params, "params", optimizer))
        moved, state = optax.with_extra_args_support(chain).update(float32(updates), state, params, **extra)
        scaled = jax.tree.map(lambda c, u: factor(c, u) * u, by_path(multipliers, updates), moved)
        return cast_like(scaled, updates), state

    return transformation(init_fn, update_fn)


def unzip(pairs: Any, like: Any) -> tuple[Any, Any]:
    """From a tree of pairs, one pair at each leaf of `like`, to a pair of trees."""
    first, second = (jax.tree.map(lambda _, pair, i=i: pair[i], like, pairs) for i in range(2))
    return first, second
