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
from mulo.errors import ArgumentError, MultiplierError
from mulo.optimizers.base import Optimizer
from mulo.optimizers.scaling import by_path, record, scaled
from mulo.optimizers.skipping import skipping
from mulo.sharding import Shards
from mulo.types import Array, Multipliers, Params

T = TypeVar("T")


def transformation(
    rule: optax.GradientTransformation, multipliers: Multipliers, optimizer: Optimizer
) -> optax.GradientTransformationExtraArgs:
    """A rule as the optimizer that users get: in float32, its updates scaled by the multipliers.

    The rule sees `update(updates, state, params, value=loss, shards=…)` with what rules can work with.

    Raises:
        MultiplierError: at `init`, a parameter has no multiplier, or one that was made for another shape.
        ArgumentError: a parameter that is not floating-point, at `init`; a loss that is not a scalar, at `update`.
    """
    init_rule, update_rule = _in_float32(rule, multipliers, optimizer)
    if optimizer.skip_non_finite:
        init_rule, update_rule = skipping(init_rule, update_rule)

    def init(params: Params) -> optax.OptState:
        params = _visible(params)
        _check_dtypes(params, optimizer.name)
        _check_multipliers(multipliers, params)
        return init_rule(params)

    def update(
        updates: Any,
        state: optax.OptState,
        params: Params | None = None,
        *,
        value: Array | float | None = None,
        shards: Shards | None = None,
        **extra: Any,
    ) -> tuple[Any, optax.OptState]:
        given, loss = _visible(required(params, "params", optimizer.name)), _scalar(value, optimizer.name)
        if shards is not None:
            _check_multipliers(multipliers, given, shards)
        if not jax.tree.leaves(given):
            return jax.tree.map(jnp.zeros_like, updates), state
        moved, state = update_rule(_visible(updates), state, given, value=loss, shards=shards, **extra)
        return _restored(moved, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _in_float32(
    rule: optax.GradientTransformation, multipliers: Multipliers, optimizer: Optimizer
) -> tuple[Callable[[Params], Any], Callable[..., Any]]:
    rule = optax.with_extra_args_support(rule)

    def init(params: Params) -> optax.OptState:
        return rule.init(float32(params))

    def update(updates: Any, state: optax.OptState, params: Params, **extra: Any) -> tuple[Any, optax.OptState]:
        moved, state = rule.update(float32(updates), state, float32(params), **extra)
        if not optimizer.scales_inside:
            moved = scaled(moved, multipliers, optimizer.power)
        return cast_like(moved, updates), state

    return init, update


def float32(tree: Any) -> Any:
    """Casts every leaf: optimizers compute in float32 whatever the parameters are kept in."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def cast_like(updates: Any, like: Any) -> Any:
    """Gives every leaf the dtype found at the same place of `like`."""
    return jax.tree.map(lambda update, x: update.astype(x.dtype), updates, like)


def on_visible(f: Callable[[Params], Params], params: Params) -> Params:
    """`f` of the parameters as rules see them, in the structure and dtypes of the parameters themselves."""
    visible = _visible(params)
    return _restored(cast_like(f(float32(visible)), visible), params)


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
        expected = record(multipliers[path]).shape
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
