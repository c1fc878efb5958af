"""Optimizer state in bfloat16: half the memory of the moments, rounded so that small increments are not lost.

bfloat16 has 8 bits of precision: under β = 0.999 an average moves by at most a thousandth of its distance from the
gradient, less than half a unit in the last place, and rounding to nearest would stop it for good. So
values are rounded up or down at random, with the probabilities that make the rounding right on average.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mulo import trees
from mulo.errors import ArgumentError
from mulo.optimizers.base import Optimizer
from mulo.types import Array, Multipliers, Params, Theta


class ReducedState(NamedTuple):
    """State of the optimizer inside, its moments in bfloat16; steps done."""

    inner: Any
    step: Array


@dataclass(frozen=True)
class InBfloat16:
    """The same optimizer with bfloat16 moments; each step is computed in float32.

    Row and column moments are small and stay in float32.
    """

    optimizer: Optimizer

    def init(self, key: Array) -> Theta:
        """Fresh θ."""
        return self.optimizer.init(key)

    def evaluation_params(self, state: ReducedState, params: Params) -> Params:
        """As the optimizer inside."""
        return self.optimizer.evaluation_params(state.inner, params)

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """As the optimizer inside.

        Raises:
            ArgumentError: at `init`, the state holds arrays as large as parameters that the optimizer does not name.
        """
        inner, moments = self.optimizer.transform(theta, num_steps, multipliers), self.optimizer.moments()

        def init_fn(params: Params) -> ReducedState:
            state = inner.init(params)
            _check_known(state, params, moments, self.optimizer.name)
            return ReducedState(_narrowed(state, jnp.int32(0), moments), jnp.int32(0))

        def update_fn(
            updates: Any, state: ReducedState, params: Params | None = None, **extra: Any
        ) -> tuple[Any, ReducedState]:
            widened = _each_moment(lambda x: x.astype(jnp.float32), state.inner, moments)
            moved, new = inner.update(updates, widened, params, **extra)
            return moved, ReducedState(_narrowed(new, state.step, moments), state.step + 1)

        return optax.GradientTransformationExtraArgs(init_fn, update_fn)


Moments = Mapping[type, tuple[str, ...]]


def _check_known(state: Any, params: Params, moments: Moments, name: str) -> None:
    """Moments that nobody names would stay in float32, and the memory that was asked for would not be saved."""

    def known(node: Any) -> bool:
        return type(node) in moments

    shapes = {jnp.shape(x) for x in jax.tree.leaves(params) if jnp.ndim(x) > 1}
    rest = jax.tree.map(lambda node: None if known(node) else node, state, is_leaf=known)
    unknown = [path for path, x in jax.tree_util.tree_flatten_with_path(rest)[0] if jnp.shape(x) in shapes]
    if unknown:
        raise ArgumentError(
            f"state_dtype=bfloat16 is invalid for {name}: its state holds {trees.path_name(unknown[0])}, as large as a "
            "parameter, and `moments` does not say whether it is a moment."
        )


def _narrowed(state: Any, step: Array, moments: Moments) -> Any:
    number = count()
    return _each_moment(lambda x: stochastic_round(x, step, next(number)), state, moments)


def _each_moment(f: Callable[[Array], Array], state: Any, moments: Moments) -> Any:
    def convert(node: Any) -> Any:
        names = moments.get(type(node), ())
        return node._replace(**{name: jax.tree.map(f, getattr(node, name)) for name in names}) if names else node

    return jax.tree.map(convert, state, is_leaf=lambda node: bool(moments.get(type(node))))


def stochastic_round(x: Array, step: Array, stream: int) -> Array:
    """float32 to one of the two nearest bfloat16 values at random, so that the mean is x; not finite stays as it is.

    The bits drawn depend on the entry's position, the step and the stream alone: the same at every run.
    """
    noise = _bits(x.shape, step, stream) >> 16
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + noise
    rounded = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def _bits(shape: tuple[int, ...], step: Array, stream: int) -> Array:
    """32 random bits per entry from a hash of its position: cheap enough to be fused into the rounding."""
    size = 1
    position = jnp.zeros(shape, jnp.uint32)
    for axis in reversed(range(len(shape))):
        position += jnp.uint32(size) * jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        size *= shape[axis]
    seed = _mixed(jnp.uint32(step) * jnp.uint32(0x9E3779B9) + jnp.uint32(stream))
    return _mixed(position ^ seed)


def _mixed(x: Array) -> Array:
    """An integer hash of 32 bits in which every input bit acts on every output bit (C. Wellons, "lowbias32", 2018)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return x ^ (x >> 16)
