"""Celo2, base and orthogonalised, under SP and µP (Moudgil et al. 2026, arXiv 2602.19142).

On tensors of rank ≥ 2 the per-parameter MLP gives a direction, which is normalised to RMS 1 over the last two axes,
after Newton–Schulz orthogonalisation where asked for. Tensors of rank < 2 are moved by AdamW. Learning rate and
decoupled weight decay are those of any hand-designed optimizer.

Multipliers are those of an elementwise update. An orthogonalised one of RMS 1 has a spectral norm of about √n where an
elementwise one, aligned with its inputs, has n: it takes their square roots, 1/√fan_in on hidden matrices.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mulo import sharding, trees
from mulo.optimizers import accumulators, per_parameter_mlp, tensor_update, velo_rule
from mulo.optimizers.accumulators import Accumulators, Decays, TensorInputs
from mulo.optimizers.celo2 import Celo2
from mulo.optimizers.orthogonalized import orthogonalize
from mulo.optimizers.scaling import decayed_weights
from mulo.optimizers.tensor_update import Rule
from mulo.placement import laid_out_alike
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multipliers, Params, Theta

MOMENT_EPS = 1e-8
NORMALIZER = per_parameter_mlp.Normalizer(1e-9, axes=(-2, -1))
RMS_EPS = 1e-9
VECTOR_DECAYS = (0.9, 0.95)


class DirectionState(NamedTuple):
    """Accumulators in the tree of the parameters of rank ≥ 2."""

    tensors: Any


def initial(optimizer: Celo2, key: Array) -> Theta:
    """Fresh θ: truncated normal weights of std 1/√fan_in, zero biases."""
    mlp = per_parameter_mlp.weights(velo_rule.FEATURES, optimizer.hidden_size, velo_rule.OUTPUTS)
    return trees.draw_weights(key, {"mlp": mlp})


def scale_by_celo2(
    optimizer: Celo2, theta: Theta, num_steps: Array, multipliers: Multipliers
) -> optax.GradientTransformationExtraArgs:
    """The whole rule but the multipliers of updates; those of weight decay act in here."""
    decay = decayed_weights(optimizer.weight_decay, multipliers, optimizer.power)
    matrix = optax.chain(scale_by_direction(theta, optimizer.orthogonalize), decay)
    vector = optax.chain(optax.scale_by_adam(*VECTOR_DECAYS), decay, optax.scale(optimizer.vector_mult))

    def kinds(params: Params) -> Any:
        return jax.tree.map(lambda p: "matrix" if jnp.ndim(p) >= 2 else "vector", params)

    return optax.chain(
        optax.multi_transform({"matrix": matrix, "vector": vector}, kinds),
        optax.scale_by_learning_rate(optimizer.scheduled(optimizer.step_mult, num_steps)),
    )


def scale_by_direction(theta: Theta, orthogonal: bool) -> optax.GradientTransformationExtraArgs:
    """The learned direction of every tensor, of RMS 1."""

    def init_fn(params: Params) -> DirectionState:
        return DirectionState(jax.tree.map(lambda p: accumulators.initial(p, _decays()), params))

    def update_fn(
        updates: Any, state: DirectionState, params: Params, *, shards: Shards | None = None, **extra: Any
    ) -> tuple[Any, DirectionState]:
        del extra

        def direct(g: Array, p: Array, old: Accumulators, shard: Shard) -> tuple[Array, Accumulators]:
            direction, accumulated = tensor_update.update(_rule(), theta["mlp"], _decays(), g, p, old, shard=shard)
            normalize = partial(_normalized, orthogonal=orthogonal, shard=shard)
            return laid_out_alike(normalize, (direction,), g), accumulated

        laid_out = sharding.by_path(shards, updates)
        directions, tensors = trees.unzip(jax.tree.map(direct, updates, params, state.tensors, laid_out), updates)
        return directions, DirectionState(tensors)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _normalized(direction: Array, orthogonal: bool, shard: Shard) -> Array:
    if orthogonal:
        # A step of Newton–Schulz multiplies whole matrices: every device takes it for all of them.
        direction = shard.part(orthogonalize(shard.gather(direction)))
    mean_square = shard.mean(jnp.square(direction), (-2, -1), keepdims=True)
    return direction * jax.lax.rsqrt(mean_square + RMS_EPS)


def _rule() -> Rule:
    return Rule(
        tensor_features,
        velo=True,
        normalizer=NORMALIZER,
        moment_eps=MOMENT_EPS,
        vector_eps=0.0,
        exp_mult=0.0,
        clip=velo_rule.GRADIENT_CLIP,
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
