"""What every optimizer here does around its own rule: check what it is given, and hide what no rule can work with.

A rule sees real floating-point arrays with entries, in nested dictionaries, lists and tuples. Python numbers become
arrays; a complex array becomes two real ones (as with `optax.adam`, its gradient is the conjugate of what `jax.grad`
gives); an `nnx.State` becomes dictionaries of arrays (`nnx.Optimizer` hands on boxed parameters at `init` and bare
ones at `update`, and keeps an optimizer's state array by array: NamedTuples of moments inside its boxes would come back
as dictionaries); arrays without entries are left out, as `optax.masked` leaves parameters out.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mulo import sharding, trees
from mulo.config import OptimizerConfig
from mulo.errors import ArgumentError, MultiplierError
from mulo.optimizers.scaling import by_path, cast_like, float32
from mulo.optimizers.skipping import skipping
from mulo.sharding import Shards
from mulo.types import Array, Multipliers, Params

T = TypeVar("T")


def transformation(
    init_fn: Callable[[Params], Any], update_fn: Callable[..., Any], multipliers: Multipliers, config: OptimizerConfig
) -> optax.GradientTransformationExtraArgs:
    """The pair of functions as optax's, with what the settings ask of every optimizer.

    `init_fn(params)` and `update_fn(updates, state, params, value=loss, shards=…)` see what rules can work with.

    Raises:
        MultiplierError: at `init`, a parameter has no multiplier, or one that was made for another shape.
        ArgumentError: a parameter that is not floating-point, at `init`; a loss that is not a scalar, at `update`.
    """
    optimizer = config.name
    if config.skip_non_finite:
        init_fn, update_fn = skipping(init_fn, update_fn)

    def init(params: Params) -> optax.OptState:
        params = _visible(params)
        _check_dtypes(params, optimizer)
        _check_multipliers(multipliers, params)
        return init_fn(params)

    def update(
        updates: Any,
        state: optax.OptState,
        params: Params | None = None,
        *,
        value: Array | float | None = None,
        shards: Shards | None = None,
        **extra: Any,
    ) -> tuple[Any, optax.OptState]:
        given, loss = _visible(required(params, "params", optimizer)), _scalar(value, optimizer)
        if shards is not None:
            _check_multipliers(multipliers, given, shards)
        if not jax.tree.leaves(given):
            return jax.tree.map(jnp.zeros_like, updates), state
        moved, state = update_fn(_visible(updates), state, given, value=loss, shards=shards, **extra)
        return _restored(moved, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def under_multipliers(
    chain: optax.GradientTransformation,
    multipliers: Multipliers,
    config: OptimizerConfig,
    factor: Callable[[float, Array], float] = lambda c, update: c,
) -> optax.GradientTransformationExtraArgs:
    """Runs a chain in float32 and scales its updates by `factor(multiplier, update)`."""

    def init_fn(params: Params) -> optax.OptState:
        return chain.init(float32(params))

    def update_fn(updates: Any, state: optax.OptState, params: Params, **extra: Any) -> tuple[Any, optax.OptState]:
        moved, state = optax.with_extra_args_support(chain).update(float32(updates), state, float32(params), **extra)
        scaled = jax.tree.map(lambda c, u: factor(c, u) * u, by_path(multipliers, updates), moved)
        return cast_like(scaled, updates), state

    return transformation(init_fn, update_fn, multipliers, config)


def _visible(tree: Any) -> Any:
    plain = nnx.to_pure_dict(tree) if isinstance(tree, nnx.State) else tree
    arrays = jax.tree.map(_array, plain)
    return jax.tree.map(_with_entries, arrays)


def _array(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    is_number = isinstance(leaf, int | float) and not hasattr(leaf, "dtype")
    return jnp.asarray(leaf, jnp.float32 if is_number else None)


def _with_entries(array: Any) -> Any:
    if not array.size:
        return optax.MaskedNode()
    return trees.Complex(array.real, array.imag) if jnp.iscomplexobj(array) else array


def _restored(moved: Any, like: Any) -> Any:
    """The arrays of `moved` in the structure of `like`, from which they were made visible."""
    leaves = iter(jax.tree.leaves(moved))

    def restored(x: Any) -> Array:
        if not jnp.size(x):
            return jnp.zeros_like(x)
        return jax.lax.complex(next(leaves), next(leaves)) if jnp.iscomplexobj(x) else next(leaves)

    return jax.tree.map(restored, like)


def _check_dtypes(params: Params, optimizer: str) -> None:
    for path, leaf in zip(trees.names(params), jax.tree.leaves(params), strict=True):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ArgumentError(
                f"{path} is {leaf.dtype}, and {optimizer} moves floating-point parameters only. Leave it out by "
                "`optax.masked`, or to another optimizer by `optax.multi_transform`."
            )


def _check_multipliers(multipliers: Multipliers, params: Params, shards: Shards | None = None) -> None:
    by_path(multipliers, params)
    for path, leaf in zip(trees.names(params), jax.tree.leaves(params), strict=True):
        expected = getattr(multipliers[path], "shape", None)
        shape = leaf.shape if shards is None else shards[path].whole(leaf.shape)
        if expected is None or shape == expected or (shards is None and sharding.may_be_part(shape, expected)):
            continue
        raise MultiplierError(
            f"{path} is {list(shape)} here, and its multiplier was made for {list(expected)}: multipliers depend on "
            "the width. Give mulo.parametrize this model first, and one of another width second."
        )


def _scalar(loss: Array | float | None, optimizer: str) -> Array | None:
    if loss is None:
        return None
    if jnp.shape(loss) or not jnp.issubdtype(jnp.result_type(loss), jnp.number) or jnp.iscomplexobj(loss):
        raise ArgumentError(
            f"`value` has shape {list(jnp.shape(loss))} and dtype {jnp.result_type(loss)}; {optimizer} needs the loss "
            "as one real number, such as its mean over the batch."
        )
    return jnp.asarray(loss, jnp.float32)


def required(value: T | None, name: str, optimizer: str) -> T:
    """The value; raises TypeError naming the argument of `update` that was left out."""
    if value is None:
        raise TypeError(f"{optimizer} needs `{name}`: call update(gradients, state, params, value=loss).")
    return value


def at_least_one(num_steps: Array | int, optimizer: str) -> Array:
    """The length of a training as float32, in which it is exact up to 2²⁴ steps.

    Raises:
        ArgumentError: it is not a finite number of at least 1; of traced ones only the shape is looked at.
    """
    is_traced = isinstance(num_steps, jax.core.Tracer)
    if jnp.shape(num_steps) or not (is_traced or 1 <= num_steps < math.inf):
        raise ArgumentError(f"num_steps={num_steps} is not possible for {optimizer}: it is the number of steps, ≥ 1.")
    return jnp.asarray(num_steps, jnp.float32)
