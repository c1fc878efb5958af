"""One step of a learned optimizer on one tensor: accumulators, features and the per-parameter MLP.

Two implementations of one function: in JAX, for every backend and for vmap, grad and sharding, and in C++
(`native/`), for CPUs. `update` chooses.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulo.optimizers import accumulators, native, per_parameter_mlp
from mulo.optimizers.accumulators import Accumulators, Decays, TensorInputs
from mulo.optimizers.per_parameter_mlp import MLPWeights, Normalizer
from mulo.placement import laid_out_alike
from mulo.sharding import WHOLE, Shard
from mulo.types import Array

HIGHEST = jax.lax.Precision.HIGHEST


@dataclass(frozen=True)
class Rule:
    """What is static about an architecture's update."""

    features: Callable[[TensorInputs], Sequence[Array]]
    """In JAX; in C++ `velo` says which of the two lists of features it is."""
    velo: bool
    normalizer: Normalizer
    moment_eps: float
    """Added to the second moment before its rsqrt."""
    vector_eps: float
    """Added to the moment of tensors of rank < 2 before the rsqrt that scales their momentum."""
    exp_mult: float
    """λ2: the result is direction · exp(λ2 · magnitude)."""
    clip: float = math.inf
    """Gradient entries are clipped to ± this."""
    zero_non_finite: bool = False
    """Gradient entries that are not finite count as 0."""
    scale_free: bool = False
    """Features are those of the gradient in units of its own size (`accumulators.per_unit`)."""

    def read(self, given: TensorInputs) -> Sequence[Array]:
        """The features of a tensor, or of a part of it."""
        return self.features(accumulators.in_units(given) if self.scale_free else given)


def update(
    rule: Rule,
    mlp: MLPWeights,
    decays: Decays,
    gradient: Array,
    parameter: Array,
    state: Accumulators,
    constants: Array | None = None,
    shard: Shard = WHOLE,
) -> tuple[Array, Accumulators]:
    """Takes in a gradient.

    Args:
        rule: the architecture's.
        mlp: weights; the rows of `w0` follow the rule's features, then `constants`.
        decays: of the accumulators, 3 + 1 + 3.
        gradient: [*shape], float32.
        parameter: [*shape], float32.
        state: accumulators of before the step.
        constants: [K], MLP inputs that are the same for every entry.
        shard: how the tensor is laid out; where it is shared out, the other arguments hold this device's part.

    Returns:
        The MLP's step, [*shape], without learning rate and multiplier; the accumulators.
    """
    if constants is not None:
        features = len(mlp.w0) - len(constants)
        mlp = mlp._replace(
            w0=mlp.w0[:features], b0=mlp.b0 + jnp.matmul(constants, mlp.w0[features:], precision=HIGHEST)
        )
    if shard.dimension is not None:
        return _jax(rule, mlp, decays, gradient, parameter, state, shard)
    form = _native if native.available() and gradient.size else _jax
    arguments = mlp, decays, gradient, parameter, state
    return laid_out_alike(partial(form, rule), arguments, (gradient, state))


def _jax(
    rule: Rule, mlp: MLPWeights, decays: Decays, gradient: Array, p: Array, state: Accumulators, shard: Shard = WHOLE
) -> tuple[Array, Accumulators]:
    if rule.zero_non_finite:
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
    gradient = jnp.clip(gradient, -rule.clip, rule.clip) if math.isfinite(rule.clip) else gradient
    state = accumulators.update(state, gradient, decays, shard)

    def output(direction: Array, magnitude: Array, *_: Array) -> Array:
        return direction * jnp.exp(rule.exp_mult * magnitude) if rule.exp_mult else direction

    inputs = accumulators.inputs(gradient, p, state, shard, rule.scale_free)
    return per_parameter_mlp.apply(mlp, rule.read, inputs, output, rule.normalizer._replace(shard=shard)), state


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _native(
    rule: Rule, mlp: MLPWeights, decays: Decays, gradient: Array, parameter: Array, state: Accumulators
) -> tuple[Array, Accumulators]:
    vector = gradient.ndim < 2
    state = state._replace(col=jnp.zeros(1, jnp.float32)) if vector else state
    axes = accumulators.factored_axes(gradient.shape) or (-1, -1)
    call = jax.ffi.ffi_call(
        native.UPDATE,
        [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in (*state, gradient)],
        vmap_method="broadcast_all",
        input_output_aliases={2 + i: i for i in range(4)},
    )
    *accumulated, step = call(
        gradient,
        parameter,
        *state,
        jnp.concatenate(decays),
        *mlp,
        dims=np.array(gradient.shape, np.int64),
        d1=np.int64(axes[0]),
        d0=np.int64(axes[1]),
        velo=np.int64(rule.velo),
        last_two=np.int64(rule.normalizer.axes is not None),
        zero_non_finite=np.int64(rule.zero_non_finite),
        scale_free=np.int64(rule.scale_free),
        moment_eps=np.float32(rule.moment_eps),
        vector_eps=np.float32(rule.vector_eps),
        normalizer_eps=np.float32(rule.normalizer.eps),
        clip=np.float32(rule.clip),
        exp_mult=np.float32(rule.exp_mult),
    )
    new = Accumulators(*accumulated)
    return step, new._replace(col=()) if vector else new


@_native.defjvp
def _native_jvp(rule: Rule, primals: Any, tangents: Any) -> Any:
    """Where an update is differentiated, it is computed in JAX."""
    return jax.jvp(partial(_jax, rule), primals, tangents)
