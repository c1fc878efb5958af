"""The small MLP that a learned optimizer applies to every parameter: the hot path of all architectures.

A feature is an array [K, *shape] whose dimensions may be 1 where it does not vary (rows, columns). Three things are
exploited, all of them exact:

- rows and columns enter the first layer at their own size, once, and are broadcast afterwards;
- normalisers that are scalars are folded into the first layer's weights;
- no array of features exists for a whole tensor: a small MLP becomes scalar arithmetic that XLA fuses into one loop
  over the tensor's entries, a larger one walks over tiles that stay in cache.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulo.optimizers.tiles import over_tiles
from mulo.sharding import WHOLE, Shard
from mulo.trees import Weight
from mulo.types import Array, Shape

FUSED_HIDDEN = 8
"""Up to this hidden size the layers are written as scalar arithmetic, which XLA fuses into one loop."""
TILE = 16_384
"""Entries of a tile of larger MLPs on CPUs, where it is to stay in cache."""
ACCELERATOR_TILE = 2**17
"""Elsewhere: 16 MB of hidden units at size 32. Chosen from compiled programs (docs/performance.md), not timed."""


class MLPWeights(NamedTuple):
    """Weights and biases of three layers: [features, H], [H], [H, H], [H], [H, outputs], [outputs]."""

    w0: Any
    b0: Any
    w1: Any
    b1: Any
    w2: Any
    b2: Any


def weights(features: int, hidden: int, outputs: int, copies: tuple[int, ...] = ()) -> MLPWeights:
    """How fresh weights are drawn: std 1/√fan_in, zero biases; `copies` are leading axes."""
    parts: list[Weight] = []
    for fan_in, fan_out in ((features, hidden), (hidden, hidden), (hidden, outputs)):
        parts += [Weight((*copies, fan_in, fan_out), fan_in**-0.5), Weight((*copies, fan_out))]
    return MLPWeights(*parts)


ADAM_GAIN = 3.0
"""How many times Adam's direction of RMS 1 a fresh update is under `start=adam`, where steps are not normalised."""


def at_adam(mlp: MLPWeights, feature: int, normalized: bool) -> MLPWeights:
    """Random weights made into Adam's direction and a tenth of what they were.

    Two units of each hidden layer pass on the feature m / √v, one for each sign, and nothing else.

    Args:
        mlp: fresh weights, with any number of leading axes.
        feature: row of m / √v (β 0.9) in `w0`.
        normalized: whether steps are normalised, so that the gain does not matter.
    """
    gain = 1.0 if normalized else ADAM_GAIN
    w0 = mlp.w0.at[..., :2].set(0).at[..., feature, 0].set(1).at[..., feature, 1].set(-1)
    w1 = mlp.w1.at[..., :2].set(0).at[..., 0, 0].set(1).at[..., 1, 1].set(1)
    w2 = (0.1 * mlp.w2).at[..., :2, :].set(0).at[..., 0, 0].set(gain).at[..., 1, 0].set(-gain)
    return mlp._replace(w0=w0, w1=w1, w2=w2)


class Normalizer(NamedTuple):
    """Features are multiplied by rsqrt(eps + mean of x²)."""

    eps: float
    axes: tuple[int, ...] | None = None
    """Which of the tensor's dimensions the mean is over; None: all."""
    shard: Shard = WHOLE
    """How the tensor that the mean is over is laid out."""


class _FirstLayer(NamedTuple):
    """The first layer with all that need not be done per entry done."""

    weights: Array
    """[K, H] for the features that vary along all dimensions, scalar normalisers folded in."""
    base: list[Array]
    """[H, *shape with some dimensions 1] the contributions of all others, and the bias."""
    scales: dict[int, Array]
    """Normalisers that vary within the tensor, by feature."""


def apply(
    mlp: MLPWeights,
    features: Callable[[Any], Sequence[Array]],
    inputs: Any,
    output: Callable[..., Array],
    normalizer: Normalizer,
) -> Array:
    """Applies the MLP to every entry of a tensor.

    Args:
        mlp: weights; the rows of `w0` follow the features.
        features: from inputs to features, each [K, *shape] or [K, *shape with some dimensions 1]; elementwise along
            the tensor's dimensions, so that it can be asked for a part of the tensor.
        inputs: pytree of arrays [K, *shape] or [K, *shape with some dimensions 1].
        output: elementwise, from the MLP's outputs to the result.
        normalizer: what the features are divided by.

    Returns:
        [*shape].
    """
    measured = features(inputs)
    shape = jnp.broadcast_shapes(*(feature.shape[1:] for feature in measured))
    if math.prod(shape) == 0:
        return jnp.zeros(shape, jnp.float32)
    first = _first_layer(mlp, measured, shape, normalizer)
    layers, size = (_fused, math.prod(shape)) if mlp.b0.shape[0] <= FUSED_HIDDEN else (_matrix, _tile_size())

    def entries(part: tuple[Any, list[Array], dict[int, Array]]) -> Array:
        given, base, scales = part
        whole = [i for i, feature in enumerate(measured) if feature.shape[1:] == shape]
        found = features(given)
        scaled = [found[i] * scales[i] if i in scales else found[i] for i in whole]
        return output(*layers(mlp, scaled, first.weights, base))

    # Without the barrier XLA would keep features of the whole tensor from their normalisers' computation until here.
    # One for each array: of several, JAX 0.12 cannot differentiate by some.
    inputs = jax.tree.map(jax.lax.optimization_barrier, inputs)
    return over_tiles(
        entries, (inputs, first.base, first.scales), normalizer.shard.varying(jnp.zeros(shape, jnp.float32)), size
    )


def _tile_size() -> int:
    return TILE if jax.default_backend() == "cpu" else ACCELERATOR_TILE


def _first_layer(mlp: MLPWeights, features: Sequence[Array], shape: Shape, normalizer: Normalizer) -> _FirstLayer:
    ends = np.cumsum([len(feature) for feature in features])
    weights: list[Array] = []
    scales: dict[int, Array] = {}
    small: dict[tuple[int, ...], list[tuple[Array, Array]]] = {}
    for i, (feature, rows) in enumerate(zip(features, jnp.split(mlp.w0, ends[:-1]), strict=True)):
        scale = _normalizers(feature, normalizer)
        scalar = scale.size == len(scale)
        folded = rows * scale.reshape(-1, 1) if scalar else rows
        if feature.shape[1:] != shape:
            small.setdefault(feature.shape[1:], []).append((folded, feature if scalar else feature * scale))
            continue
        weights.append(folded)
        if not scalar:
            scales[i] = scale
    base = [_dot(*map(jnp.concatenate, zip(*group, strict=True))) for group in small.values()]
    return _FirstLayer(jnp.concatenate(weights), [*base, mlp.b0.reshape(-1, *(1,) * len(shape))], scales)


def _normalizers(feature: Array, normalizer: Normalizer) -> Array:
    """[K, *shape with some dimensions 1]; a mean over entries that do not vary is that over the tensor."""
    axes = range(feature.ndim - 1) if normalizer.axes is None else normalizer.axes
    over = tuple(1 + axis % (feature.ndim - 1) for axis in axes)
    return jax.lax.rsqrt(normalizer.eps + normalizer.shard.mean(jnp.square(feature), over, keepdims=True))


def _fused(mlp: MLPWeights, features: Sequence[Array], weights: Array, base: Sequence[Array]) -> list[Array]:
    planes = [plane for feature in features for plane in feature]
    hidden = [jax.nn.relu(unit) for unit in _sums(planes, weights, base)]
    hidden = [jax.nn.relu(unit) for unit in _sums(hidden, mlp.w1, [mlp.b1])]
    return _sums(hidden, mlp.w2, [mlp.b2])


def _sums(planes: Sequence[Array], weights: Array, base: Sequence[Array]) -> list[Array]:
    """Σ_k x_k·w_kj + base_j for every unit j, as scalar arithmetic."""
    units = []
    for j in range(len(base[0])):
        total = base[0][j]
        for term in (*(b[j] for b in base[1:]), *(x * weights[k, j] for k, x in enumerate(planes))):
            total = total + term
        units.append(total)
    return units


def _matrix(mlp: MLPWeights, features: Sequence[Array], weights: Array, base: Sequence[Array]) -> list[Array]:
    hidden = jax.nn.relu(sum(base, _dot(weights, jnp.concatenate(features))))
    hidden = jax.nn.relu(_dot(mlp.w1, hidden) + _like(mlp.b1, hidden))
    return list(_dot(mlp.w2, hidden) + _like(mlp.b2, hidden))


def _dot(weights: Array, planes: Array) -> Array:
    """[K, H], [K, *shape] → [H, *shape], in full float32 on every backend."""
    return jnp.tensordot(weights.T, planes, axes=1, precision=jax.lax.Precision.HIGHEST)


def _like(bias: Array, planes: Array) -> Array:
    return bias.reshape(-1, *(1,) * (planes.ndim - 1))
