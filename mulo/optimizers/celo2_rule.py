"""Celo2, base and orthogonalised, under SP and µP (Moudgil et al. 2026, arXiv 2602.19142).

On tensors of rank ≥ 2 the per-parameter MLP gives a direction, which is normalised to RMS 1 over the last two axes,
after Newton–Schulz orthogonalisation where asked for. Tensors of rank < 2 are moved by AdamW. Learning rate and
decoupled weight decay are those of any hand-designed optimizer.

Multipliers are those of an elementwise update. An orthogonalised one of RMS 1 has a spectral norm of about √n where an
elementwise one, aligned with its inputs, has n: it takes their square roots, 1/√fan_in on hidden matrices.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mulo import sharding, trees
from mulo.optimizers import accumulators, per_parameter_mlp, step_sizes, tensor_update, velo_rule
from mulo.optimizers.accumulators import Accumulators, Decays, TensorInputs
from mulo.optimizers.celo2 import Celo2
from mulo.optimizers.orthogonalized import orthogonalize
from mulo.optimizers.scaling import by_path, decayed_weights
from mulo.optimizers.steps import normalized
from mulo.optimizers.tensor_update import Rule
from mulo.placement import laid_out_alike
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multiplier, Multipliers, Params, Theta

MOMENT_EPS = 1e-8
NORMALIZER = per_parameter_mlp.Normalizer(1e-9, axes=(-2, -1))
VECTOR_DECAYS = (0.9, 0.95)
VECTOR_EPS = 1e-8
SCALE_FREE_EPS = 1e-18
"""Adam's ε under `scale_free`: a vector that has no gradient stays where it is, and nothing else feels it."""


class DirectionState(NamedTuple):
    """Accumulators in the tree of the parameters of rank ≥ 2; steps done, where features of time need them."""

    tensors: Any
    step: Any = ()


def initial(optimizer: Celo2, key: Array) -> Theta:
    """Fresh θ: truncated normal weights of std 1/√fan_in, zero biases."""
    features = velo_rule.FEATURES + (len(velo_rule.TIMES) if optimizer.time_features == "relative" else 0)
    mlp = per_parameter_mlp.weights(features, optimizer.hidden_size, velo_rule.OUTPUTS)
    theta = trees.draw_weights(key, {"mlp": mlp})
    if optimizer.start == "random":
        return theta
    return {"mlp": per_parameter_mlp.at_adam(theta["mlp"], velo_rule.ADAM_FEATURE, normalized=True)}


def scale_by_celo2(
    optimizer: Celo2, theta: Theta, num_steps: Array, multipliers: Multipliers
) -> optax.GradientTransformationExtraArgs:
    """The whole rule but the multipliers of updates; those of weight decay act in here."""
    decay = decayed_weights(optimizer.weight_decay, multipliers, optimizer.power)
    sized = [step_sizes.scale_by_step_sizes(theta, num_steps, multipliers)] if optimizer.step_sizes else []
    matrix = optax.chain(scale_by_direction(optimizer, theta, num_steps, multipliers), *sized, decay)
    eps = SCALE_FREE_EPS if optimizer.scale_free else VECTOR_EPS
    vector = optax.chain(optax.scale_by_adam(*VECTOR_DECAYS, eps), *sized, decay, optax.scale(optimizer.vector_mult))

    def kinds(params: Params) -> Any:
        return jax.tree.map(lambda p: "matrix" if jnp.ndim(p) >= 2 else "vector", params)

    return optax.chain(
        optax.multi_transform({"matrix": matrix, "vector": vector}, kinds),
        optax.scale_by_learning_rate(optimizer.rates(num_steps)),
    )


def scale_by_direction(
    optimizer: Celo2, theta: Theta, num_steps: Array, multipliers: Multipliers
) -> optax.GradientTransformationExtraArgs:
    """The learned direction of every tensor, of RMS 1."""
    timed, rule = optimizer.time_features == "relative", rule_of(optimizer)

    def init_fn(params: Params) -> DirectionState:
        tensors = jax.tree.map(lambda p: accumulators.initial(p, _decays()), params)
        return DirectionState(tensors, jnp.int32(0) if timed else ())

    def update_fn(
        updates: Any, state: DirectionState, params: Params, *, shards: Shards | None = None, **extra: Any
    ) -> tuple[Any, DirectionState]:
        del extra

        time = velo_rule.time_features(state.step, num_steps) if timed else None

        def direct(g: Array, p: Array, old: Accumulators, shard: Shard, c: Multiplier) -> tuple[Array, Accumulators]:
            direction, accumulated = tensor_update.update(rule, theta["mlp"], _decays(), g, p, old, time, shard)
            normalize = partial(_normalized, orthogonal=optimizer.orthogonalizes(c), shard=shard)
            return laid_out_alike(normalize, (direction,), g), accumulated

        laid_out, known = sharding.by_path(shards, updates), by_path(multipliers, updates)
        directions, tensors = trees.unzip(
            jax.tree.map(direct, updates, params, state.tensors, laid_out, known), updates
        )
        return directions, DirectionState(tensors, state.step + 1 if timed else ())

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _normalized(direction: Array, orthogonal: bool, shard: Shard) -> Array:
    if orthogonal:
        # A step of Newton–Schulz multiplies whole matrices: every device takes it for all of them.
        direction = shard.part(orthogonalize(shard.gather(direction)))
    return normalized(direction, shard, (-2, -1))


def rule_of(optimizer: Celo2) -> Rule:
    """What is static about its update."""
    return Rule(
        tensor_features,
        velo=True,
        normalizer=NORMALIZER,
        moment_eps=MOMENT_EPS,
        vector_eps=0.0,
        exp_mult=0.0,
        clip=math.inf if optimizer.scale_free else velo_rule.GRADIENT_CLIP,
        scale_free=optimizer.scale_free,
    )


def _decays() -> Decays:
    return Decays.of([0.9, 0.99, 0.999], [0.95], [0.9, 0.99, 0.999])


def tensor_features(given: TensorInputs) -> list[Array]:
    """VeLO's 30 features with a smaller epsilon."""
    return velo_rule.features_with(given, MOMENT_EPS)


def read_haiku(arrays: Any) -> Theta:
    """θ by Haiku's names, from what `exchange.haiku` hands on."""
    theta = {"mlp": velo_rule.read_haiku_mlp(arrays)}
    arrays.refuse_rest()
    return theta
