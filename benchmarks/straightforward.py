"""The update of a learned optimizer written down straightforwardly: all features side by side, three matmuls.

This is how the field's code computes it: an array [entries, features] per tensor, normalised, then the MLP.
It is the yardstick of the benchmarks and the oracle of the tests.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from mulo.optimizers import native, per_parameter_mlp
from mulo.optimizers.per_parameter_mlp import MLPWeights, Normalizer
from mulo.types import Array


def apply(
    mlp: MLPWeights,
    features: Callable[[Any], Sequence[Array]],
    inputs: Any,
    output: Callable[..., Array],
    normalizer: Normalizer,
) -> Array:
    """The same function as `mulo.optimizers.per_parameter_mlp.apply`."""
    found = features(inputs)
    shape = jnp.broadcast_shapes(*(feature.shape[1:] for feature in found))
    planes = [jnp.broadcast_to(plane, shape) for feature in found for plane in feature]
    table = jnp.stack(planes, axis=-1)
    axes = tuple(range(len(shape))) if normalizer.axes is None else normalizer.axes
    axes = tuple(axis % len(shape) for axis in axes)
    table *= jax.lax.rsqrt(normalizer.eps + jnp.mean(jnp.square(table), axis=axes, keepdims=True))
    hidden = jax.nn.relu(table @ mlp.w0 + mlp.b0)
    hidden = jax.nn.relu(hidden @ mlp.w1 + mlp.b1)
    return output(*jnp.moveaxis(hidden @ mlp.w2 + mlp.b2, -1, 0))


@contextmanager
def traced_as(form: str) -> Iterator[None]:
    """Programs traced inside use this form of the update: `straightforward`, `jax` or `native`."""
    own = per_parameter_mlp.apply, native.available
    try:
        if form == "straightforward":
            per_parameter_mlp.apply = apply
        if form != "native":
            native.available = lambda: False
        yield
    finally:
        per_parameter_mlp.apply, native.available = own
