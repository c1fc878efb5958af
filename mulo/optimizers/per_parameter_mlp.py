"""The small MLP that a learned optimizer applies to every parameter: the hot path of all architectures.

A feature is an array [K, *shape] whose dimensions may be 1 where it does not vary (rows, columns), or a vector [K]
that is the same for the whole tensor (time). Such features enter the first layer at their own size and are broadcast
afterwards, and the normalisers, one scalar per feature, are folded into its weights; both are exact.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulo.trees import Weight
from mulo.types import Array

NORMALIZER_EPS = 1e-5
FUSED_HIDDEN = 8
"""Up to this hidden size the layers are written as scalar arithmetic, which XLA fuses into one loop."""


class MLP(NamedTuple):
    """Weights and biases of three layers: [features, H], [H], [H, H], [H], [H, outputs], [outputs]."""

    w0: Any
    b0: Any
    w1: Any
    b1: Any
    w2: Any
    b2: Any


def weights(features: int, hidden: int, outputs: int, copies: tuple[int, ...] = ()) -> MLP:
    """How fresh weights are drawn: std 1/√fan_in, zero biases; `copies` are leading axes."""
    parts: list[Weight] = []
    for fan_in, fan_out in ((features, hidden), (hidden, hidden), (hidden, outputs)):
        parts += [Weight((*copies, fan_in, fan_out), fan_in**-0.5), Weight((*copies, fan_out))]
    return MLP(*parts)


def apply(mlp: MLP, features: Sequence[Array], shape: tuple[int, ...], constants: Array | None = None) -> list[Array]:
    """Applies the MLP to every entry of a tensor.

    Args:
        mlp: weights; the rows of `w0` follow `features`, then `constants`.
        features: each [K, *shape] or [K, *shape with some dimensions 1]; divided by their RMS over the tensor.
        shape: the tensor's.
        constants: [K], the same for every entry, not normalised.

    Returns:
        One array of `shape` per output.
    """
    planes = [plane for feature in features for plane in feature]
    first = mlp.w0[: len(planes)] * jnp.concatenate([_normalizers(feature) for feature in features])[:, None]
    bias = mlp.b0 if constants is None else mlp.b0 + constants @ mlp.w0[len(planes) :]
    layers = _fused if mlp.b0.shape[0] <= FUSED_HIDDEN else _matrix
    return [jnp.broadcast_to(out, shape) for out in layers(mlp, planes, first, bias)]


def _normalizers(feature: Array) -> Array:
    """[K]; where the feature does not vary, the mean over its own entries is that over the tensor."""
    mean_square = jnp.mean(jnp.square(feature), axis=tuple(range(1, feature.ndim)))
    return jax.lax.rsqrt(NORMALIZER_EPS + mean_square)


def _fused(mlp: MLP, planes: list[Array], weights: Array, bias: Array) -> list[Array]:
    hidden = [jax.nn.relu(unit) for unit in _sums(planes, weights, bias)]
    hidden = [jax.nn.relu(unit) for unit in _sums(hidden, mlp.w1, mlp.b1)]
    return _sums(hidden, mlp.w2, mlp.b2)


def _sums(planes: list[Array], weights: Array, bias: Array) -> list[Array]:
    """b_j + Σ_k x_k·w_kj for every unit j, planes of one shape added up before they are broadcast."""
    units = []
    for j in range(len(bias)):
        total: dict[tuple[int, ...], Array] = {}
        for k, plane in enumerate(planes):
            term = plane * weights[k, j]
            total[plane.shape] = total[plane.shape] + term if plane.shape in total else term
        units.append(sum(total.values()) + bias[j])
    return units


def _matrix(mlp: MLP, planes: list[Array], weights: Array, bias: Array) -> list[Array]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, plane in enumerate(planes):
        groups.setdefault(plane.shape, []).append(k)
    parts = [_dot(weights[jnp.array(ks)], jnp.stack([planes[k] for k in ks])) for ks in groups.values()]
    hidden = jax.nn.relu(sum(parts) + _like(bias, parts[0]))
    hidden = jax.nn.relu(_dot(mlp.w1, hidden) + _like(mlp.b1, hidden))
    return list(_dot(mlp.w2, hidden) + _like(mlp.b2, hidden))


def _dot(weights: Array, planes: Array) -> Array:
    """[K, H], [K, *shape] → [H, *shape], in full float32 on every backend."""
    return jnp.tensordot(weights.T, planes, axes=1, precision=jax.lax.Precision.HIGHEST)


def _like(bias: Array, planes: Array) -> Array:
    return bias.reshape(-1, *(1,) * (planes.ndim - 1))
