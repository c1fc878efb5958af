"""small_fc_lopt, SP and µP (Metz et al. 2022, arXiv 2203.11860; µLO, arXiv 2406.00153, equation 3 and table 2)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import rsqrt

from mulo import sharding, trees
from mulo.optimizers import accumulators, per_parameter_mlp, tensor_update
from mulo.optimizers.accumulators import MOMENT_EPS, Accumulators, Decays, TensorInputs
from mulo.optimizers.per_parameter_mlp import MLPWeights
from mulo.optimizers.scaling import by_path
from mulo.optimizers.small_fc import SmallFC
from mulo.optimizers.steps import moves
from mulo.optimizers.tensor_update import Rule
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multiplier, Multipliers, Params, Theta

TIME_SCALES = (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)
FRACTIONS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FEATURES = 28 + len(TIME_SCALES)
ADAM_FEATURE = 6
"""Which feature is m · rsqrt(v) with β 0.9."""
NORMALIZER = per_parameter_mlp.Normalizer(1e-5)


class SmallFCState(NamedTuple):
    """State of a training: per-tensor accumulators in the parameters' tree, steps done, gradient entries zeroed."""

    tensors: Any
    step: Array
    non_finite: Array


def initial(optimizer: SmallFC, key: Array) -> Theta:
    """Fresh θ."""
    mlp = trees.draw_weights(key, per_parameter_mlp.weights(FEATURES, optimizer.hidden_size, 2))
    if optimizer.start == "adam":
        mlp = per_parameter_mlp.at_adam(mlp, ADAM_FEATURE, optimizer.normalize_step)
    return {"mlp": mlp, "decays": jax.tree.map(jnp.zeros_like, _initial_decays())}


def scale_by_small_fc(
    optimizer: SmallFC, theta: Theta, num_steps: Array, multipliers: Multipliers
) -> optax.GradientTransformationExtraArgs:
    """The step of the MLP for every parameter; the loss plays no role, nor, unless options say so, does `num_steps`."""
    decays, rule = decode_decays(theta["decays"]), rule_of(optimizer)

    def init_fn(params: Params) -> SmallFCState:
        tensors = jax.tree.map(lambda p: accumulators.initial(p, decays), params)
        return SmallFCState(tensors, jnp.int32(0), jnp.int32(0))

    def update_fn(
        updates: Any, state: SmallFCState, params: Params, *, shards: Shards | None = None, **extra: Any
    ) -> tuple[Any, SmallFCState]:
        del extra
        time, laid_out = _time(optimizer, state.step, num_steps), sharding.by_path(shards, updates)
        step = moves(optimizer, theta, num_steps, state.step, optimizer.normalize_step)
        known = by_path(multipliers, updates)

        def move(g: Array, p: Array, old: Accumulators, shard: Shard, c: Multiplier) -> tuple[Array, Accumulators]:
            direction, accumulated = tensor_update.update(rule, theta["mlp"], decays, g, p, old, time, shard)
            return step(direction, p, c, shard), accumulated

        moved, tensors = trees.unzip(jax.tree.map(move, updates, params, state.tensors, laid_out, known), updates)
        zeroed = _non_finite(updates, laid_out) if optimizer.zero_non_finite else jnp.int32(0)
        return moved, SmallFCState(tensors, state.step + 1, state.non_finite + zeroed)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _time(optimizer: SmallFC, step: Array, num_steps: Array) -> Array:
    return relative_time_features(step, num_steps) if optimizer.time_features == "relative" else time_features(step)


def _non_finite(gradients: Any, shards: Any) -> Array:
    """How many gradient entries the rule sets to 0."""

    def count(g: Array, shard: Shard) -> Array:
        return shard.total(jnp.sum(~jnp.isfinite(g), dtype=jnp.int32))

    return sum(jax.tree.leaves(jax.tree.map(count, gradients, shards)), jnp.int32(0))


def rule_of(optimizer: SmallFC) -> Rule:
    """What is static about its update."""
    return Rule(
        tensor_features,
        velo=False,
        normalizer=NORMALIZER,
        moment_eps=MOMENT_EPS,
        vector_eps=MOMENT_EPS,
        exp_mult=optimizer.exp_mult,
        zero_non_finite=optimizer.zero_non_finite,
        scale_free=optimizer.scale_free,
    )


def _initial_decays() -> Decays:
    return Decays.of([0.9, 0.99, 0.999], [0.999], [0.9, 0.99, 0.999])


def decode_decays(offsets: Decays) -> Decays:
    """β = 1 − exp(10·(log(1 − β0)/10 + offset)), that of the second moments clipped to [0, 1]."""
    decays = jax.tree.map(lambda b0, x: 1 - jnp.exp(10 * (jnp.log(1 - b0) / 10 + x)), _initial_decays(), offsets)
    return Decays(decays.momentum, jnp.clip(decays.second_moment, 0, 1), jnp.clip(decays.factored, 0, 1))


def tensor_features(given: TensorInputs) -> list[Array]:
    """The 28 features of one tensor, or of a part of it, before normalisation, in the order of the MLP's inputs."""
    m, v = given.state.momentum, given.state.second_moment
    root = rsqrt(v + MOMENT_EPS)
    factored = accumulators.factored_features(given, vector_eps=MOMENT_EPS)
    return [given.gradient, given.parameter, m, v, m * root, root, *factored]


def time_features(step: Array) -> Array:
    """[11], tanh(t/τ − 1) with t the iteration before its increment."""
    return jnp.tanh(step.astype(jnp.float32) / jnp.array(TIME_SCALES, jnp.float32) - 1)


def relative_time_features(step: Array, num_steps: Array) -> Array:
    """[11], tanh(10·(t/T − τ)) with t as above and T the length of the training."""
    return jnp.tanh(10 * (step.astype(jnp.float32) / num_steps - jnp.array(FRACTIONS, jnp.float32)))


def read_haiku(arrays: Any) -> Theta:
    """θ by Haiku's names, from what `exchange.haiku` hands on."""
    mlp = MLPWeights(*(arrays[f"nn/~/{letter}{layer}"] for layer in range(3) for letter in "wb"))
    decays = Decays(arrays["momentum_decays"], arrays["rms_decays"], arrays["adafactor_decays"])
    arrays.refuse_rest()
    return {"mlp": mlp, "decays": decays}
