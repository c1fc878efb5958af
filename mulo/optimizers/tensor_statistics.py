"""Statistics of one tensor and its accumulators, the input of VeLO's LSTM: in JAX, and in C++ (`native/`) for CPUs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulo.optimizers import native
from mulo.optimizers.accumulators import Accumulators
from mulo.sharding import WHOLE, Shard
from mulo.types import Array


class Statistics(NamedTuple):
    """Means over a tensor."""

    parameter: Array
    """of p², []"""
    momentum: Array
    """of m, [3]"""
    second_moment: Array
    """of v, [1]"""
    momentum_variance: Array
    """of (m − its mean)², [3]"""
    second_moment_spread: Array
    """of (v − the mean of m)², [3]"""


def statistics(parameter: Array, state: Accumulators, shard: Shard = WHOLE) -> Statistics:
    """Of a whole tensor, computed from it or from this device's part of it."""
    p, m, v = parameter, state.momentum, state.second_moment
    if shard.dimension is None and native.available() and p.size:
        return _native(p, m, v)
    return _jax(p, m, v, shard)


def _jax(p: Array, m: Array, v: Array, shard: Shard = WHOLE) -> Statistics:
    axes = tuple(range(1, m.ndim))
    mean = shard.mean(m, axes, keepdims=True)
    variance, spread = (shard.mean(jnp.square(x - mean), axes) for x in (m, v))
    return Statistics(shard.mean(jnp.square(p)), mean.reshape(-1), shard.mean(v, axes), variance, spread)


@jax.custom_jvp
def _native(p: Array, m: Array, v: Array) -> Statistics:
    call = jax.ffi.ffi_call(native.STATISTICS, jax.ShapeDtypeStruct((11,), jnp.float32), vmap_method="broadcast_all")
    first, momentum, second, variance, spread = jnp.split(call(p, m, v), (1, 4, 5, 8))
    return Statistics(first[0], momentum, second, variance, spread)


@_native.defjvp
def _native_jvp(primals: Any, tangents: Any) -> Any:
    return jax.jvp(_jax, primals, tangents)
