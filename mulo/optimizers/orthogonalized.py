"""Orthogonalised updates: Newton–Schulz by optax.contrib, on whole matrices also where devices hold parts of them."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from mulo import sharding, trees
from mulo.errors import MultiplierError
from mulo.optimizers.scaling import by_path
from mulo.placement import laid_out_alike
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multiplier, Multipliers, Params


def orthogonalize(x: Array, fan_in_axes: tuple[int, ...] = (-2,), fan_out_axes: tuple[int, ...] = (-1,)) -> Array:
    """Pulls all singular values of matrices towards 1 by five Newton–Schulz steps of degree 5.

    Args:
        x: [*shape], float32.
        fan_in_axes: dimensions that are summed over.
        fan_out_axes: the other dimensions of the matrices; what is in neither numbers them.
    """
    dimensions = contrib.MuonDimensionNumbers(fan_in_axes, fan_out_axes)
    muon = contrib.scale_by_muon(beta=0.0, nesterov=False, weight_dimension_numbers=dimensions)
    # Singular values near 0 are lost in the products' rounding where these have fewer digits, as TF32 has.
    with jax.default_matmul_precision("highest"):
        return muon.update(x, muon.init(x))[0]


class MomentumState(NamedTuple):
    """Steps done, and the averages of gradients in the parameters' tree."""

    step: Array
    momentum: Any


def nesterov(decay: Array | float) -> optax.GradientTransformation:
    """Nesterov's momentum with bias correction, as `optax.contrib.scale_by_muon` has it."""

    def init_fn(params: Params) -> MomentumState:
        return MomentumState(jnp.int32(0), jax.tree.map(jnp.zeros_like, params))

    def update_fn(updates: Any, state: MomentumState, params: Params | None = None) -> tuple[Any, MomentumState]:
        del params
        count = (state.step + 1).astype(jnp.float32)
        ahead, now = 1 - decay ** (count + 1), 1 - decay**count

        def move(g: Array, m: Array) -> tuple[Array, Array]:
            m = decay * m + (1 - decay) * g
            return decay * m / ahead + (1 - decay) * g / now, m

        moved, momentum = trees.unzip(jax.tree.map(move, updates, state.momentum), updates)
        return moved, MomentumState(state.step + 1, momentum)

    return optax.GradientTransformation(init_fn, update_fn)


def orthogonalized(multipliers: Multipliers) -> optax.GradientTransformationExtraArgs:
    """Makes every update, a matrix as its multiplier says, one of spectral norm √max(1, fan_out/fan_in)."""

    def update_fn(
        updates: Any, state: Any, params: Params | None = None, *, shards: Shards | None = None, **extra: Any
    ) -> tuple[Any, Any]:
        del params, extra
        what, laid_out = by_path(multipliers, updates), sharding.by_path(shards, updates)

        def orthogonal(u: Array, multiplier: Multiplier, shard: Shard) -> Array:
            return laid_out_alike(partial(_orthogonal, multiplier=multiplier, shard=shard), (u,), u)

        return jax.tree.map(orthogonal, updates, what, laid_out), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update_fn)


def _orthogonal(update: Array, multiplier: Multiplier, shard: Shard) -> Array:
    axes = multiplier.axes or "io"
    fan_in, fan_out = (tuple(i for i, axis in enumerate(axes) if axis in kind) for kind in ("iw", "o"))
    whole = shard.gather(update)
    ratio = math.prod(whole.shape[i] for i in fan_out) / math.prod(whole.shape[i] for i in fan_in)
    return shard.part(orthogonalize(whole, fan_in, fan_out) * max(1.0, ratio) ** 0.5)


def roles(params: Params, multipliers: Multipliers, role: str) -> Any:
    """Whether each parameter has this role, as a tree like `params`; raises MultiplierError where none is known."""

    def has(multiplier: Multiplier) -> bool:
        if multiplier.role is None:
            raise MultiplierError(
                "Muon chooses hidden matrices by their role, and a multiplier says none: give the table of "
                "mulo.parametrize, or Multipliers with role, fan_in and fan_out."
            )
        return multiplier.role == role

    return jax.tree.map(has, by_path(multipliers, params))
