"""Moments of the gradient that learned optimizers keep per tensor, and the features read off them.

Source: Metz et al. 2022 (arXiv 2203.11860), appendix; the factored second moment is Adafactor's
(Shazeer and Stern 2018, arXiv 1804.04235). Nothing here is bias-corrected.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from mulo.sharding import WHOLE, Shard
from mulo.types import Array

SQUARE_FLOOR = 1e-30
"""Added to g² before it enters the factored moments."""
SAFE_RSQRT_FLOOR = 1e-9
ROW_MEAN_EPS = 1e-9
MOMENT_EPS = 1e-6
"""Added to a second moment before its rsqrt."""
FACTOR_EPS = 1e-8
"""Added to row and column moments before their rsqrt feature."""
UNIT_FLOOR = 1e-36
"""Added to the square of a gradient's size: above it, constants matter as much at every scale."""


class Decays(NamedTuple):
    """EMA decays β, one entry per copy of the accumulator."""

    momentum: Array
    second_moment: Array
    factored: Array

    @classmethod
    def of(cls, *decays: Sequence[float]) -> "Decays":
        """From numbers, as float32."""
        return cls(*(jnp.array(each, jnp.float32) for each in decays))


class Accumulators(NamedTuple):
    """State of one tensor; K copies along the leading axis, one per decay.

    For rank < 2 there is nothing to factor: `row` holds the full moment and `col` is `()`.
    """

    momentum: Array
    """[K, *shape]"""
    second_moment: Array
    """[K, *shape]"""
    row: Array
    """[K, *shape] with the largest dimension reduced to 1"""
    col: Any
    """[K, *shape] with the second largest dimension reduced to 1"""


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Axes (d1, d0) of the second largest and the largest dimension, ties in index order; None for rank < 2."""
    if len(shape) < 2:
        return None
    order = np.argsort(shape, kind="stable")
    return int(order[-2]), int(order[-1])


def initial(parameter: Any, decays: Decays) -> Accumulators:
    """All zero, float32, laid out over devices as the parameter is; of it only shape and layout are looked at."""
    axes, zeros = factored_axes(parameter.shape), jnp.zeros_like(parameter, jnp.float32)

    def copies(beside: Array, decay: Array) -> Array:
        return jnp.broadcast_to(beside[None], (len(decay), *beside.shape))

    full = copies(zeros, decays.momentum), copies(zeros, decays.second_moment)
    if axes is None:
        return Accumulators(*full, copies(zeros, decays.factored), ())
    row, col = (copies(zeros.sum(axis, keepdims=True), decays.factored) for axis in reversed(axes))
    return Accumulators(*full, row, col)


def _ema(old: Array, new: Array, decay: Array) -> Array:
    decay = decay.reshape(-1, *(1,) * new.ndim)
    return decay * old + (1 - decay) * new[None]


def update(state: Accumulators, gradient: Array, decays: Decays, shard: Shard = WHOLE) -> Accumulators:
    """Takes one gradient, or this device's part of it, into all moments."""
    axes = factored_axes(shard.whole(gradient.shape))
    square = jnp.square(gradient)
    floored = square + SQUARE_FLOOR
    row = shard.mean(floored, axes[1], keepdims=True) if axes else floored
    return Accumulators(
        _ema(state.momentum, gradient, decays.momentum),
        _ema(state.second_moment, square, decays.second_moment),
        _ema(state.row, row, decays.factored),
        _ema(state.col, shard.mean(floored, axes[0], keepdims=True), decays.factored) if axes else state.col,
    )


class TensorInputs(NamedTuple):
    """What the features of one tensor are computed from; dimensions are 1 where an array does not vary."""

    gradient: Array
    """[1, *shape]"""
    parameter: Array
    """[1, *shape]"""
    state: Accumulators
    factors: Any
    """Adafactor's factors of rows and columns, a pair shaped like `state.row` and `state.col`; `()` for rank < 2."""
    per_unit: Array
    """What gradient and moments are to be multiplied by (`in_units`), [1, *(1, …)]: 1, or one over the gradient's
    size."""


def inputs(
    gradient: Array, parameter: Array, state: Accumulators, shard: Shard = WHOLE, scale_free: bool = False
) -> TensorInputs:
    """Gathers them; the factors of rows are relative to the mean over the second largest dimension.

    With `scale_free` they are to be read in units of the gradient's size: a gradient times any constant then has the
    same features, and constants such as 1e-6 beside a second moment are relative to the tensor's.
    """
    axes, scale = factored_axes(shard.whole(gradient.shape)), jnp.ones((1,) * (1 + gradient.ndim), jnp.float32)
    if scale_free:
        scale = per_unit(state, shard)
    factors = _factors(_scaled(state, scale) if scale_free else state, axes, shard) if axes else ()
    return TensorInputs(gradient[None], parameter[None], state, factors, scale)


def per_unit(state: Accumulators, shard: Shard = WHOLE) -> Array:
    """One over the gradient's size, the root mean square over the tensor by the slowest factored moment; [1, *1s]."""
    unit = shard.mean(state.row[-1])
    return rsqrt(unit + UNIT_FLOOR).reshape((1,) * state.momentum.ndim)


def in_units(given: TensorInputs) -> TensorInputs:
    """Gradient and moments times `per_unit`; elementwise, so that it need not be done for a whole tensor at once."""
    scale = given.per_unit
    return given._replace(gradient=given.gradient * scale, state=_scaled(given.state, scale))


def _scaled(state: Accumulators, per_unit: Array) -> Accumulators:
    """Moments of a gradient that is multiplied by this."""
    squared = jnp.square(per_unit)
    col = state.col * squared if len(state.col) else state.col
    return Accumulators(state.momentum * per_unit, state.second_moment * squared, state.row * squared, col)


def _factors(state: Accumulators, axes: tuple[int, int], shard: Shard) -> tuple[Array, Array]:
    mean = shard.mean(state.row, 1 + axes[0], keepdims=True)
    return _safe_rsqrt(state.row / (mean + ROW_MEAN_EPS)), _safe_rsqrt(state.col)


class FactoredFeatures(NamedTuple):
    """Features of the factored moments, K copies along the leading axis; row and column ones stay small."""

    gradient: Array
    """g times the Adafactor factors"""
    row: Array
    col: Array
    row_rsqrt: Array
    col_rsqrt: Array
    momentum: Array
    """m times the Adafactor factors"""


def factored_features(given: TensorInputs, vector_eps: float) -> FactoredFeatures:
    """Features of the row and column moments, elementwise.

    Args:
        given: of a tensor or of a part of it.
        vector_eps: added to the moment of tensors of rank < 2 before the rsqrt that scales their momentum.
    """
    g, m, (row, col) = given.gradient, given.state.momentum, given.state[2:]
    if not given.factors:
        root = rsqrt(row + FACTOR_EPS)
        scaled = g * _safe_rsqrt(row + SAFE_RSQRT_FLOOR)
        return FactoredFeatures(scaled, row, row, root, root, m * rsqrt(row + vector_eps))
    factor = given.factors[0] * given.factors[1]
    return FactoredFeatures(g * factor, row, col, rsqrt(row + FACTOR_EPS), rsqrt(col + FACTOR_EPS), m * factor)


def _safe_rsqrt(x: Array) -> Array:
    return rsqrt(jnp.maximum(x, SAFE_RSQRT_FLOOR))
