"""Celo2, base and orthogonalised, under SP and µP (Moudgil et al. 2026, arXiv 2602.19142).

On tensors of rank ≥ 2 the per-parameter MLP gives a direction, which is normalised to RMS 1 over the last two axes,
after Newton–Schulz orthogonalisation where asked for. Tensors of rank < 2 are moved by AdamW. Learning rate and
decoupled weight decay are those of any hand-designed optimizer.

Multipliers are those of an elementwise update. An orthogonalised one of RMS 1 has a spectral norm of about √n where an
elementwise one, aligned with its inputs, has n: it takes their square roots, 1/√fan_in on hidden matrices.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mulo import sharding, trees
from mulo.config import Celo2Config
from mulo.optimizers import accumulators, per_parameter_mlp, tensor_update, velo
from mulo.optimizers.accumulators import Accumulators, Decays, TensorInputs
from mulo.optimizers.scaling import decayed_weights, unzip
from mulo.optimizers.schedule import learning_rate
from mulo.optimizers.tensor_update import Rule
from mulo.optimizers.transformation import at_least_one, under_multipliers
from mulo.placement import laid_out_alike
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multipliers, Params, Theta

MOMENT_EPS = 1e-8
NORMALIZER = per_parameter_mlp.Normalizer(1e-9, axes=(-2, -1))
RMS_EPS = 1e-9
VECTOR_DECAYS = (0.9, 0.95)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
FROBENIUS_EPS = 1e-8


class DirectionState(NamedTuple):
    """Accumulators in the tree of the parameters of rank ≥ 2."""

    tensors: Any


@dataclass(frozen=True)
class Celo2:
    """The optimizer's static settings; θ is `{"mlp": MLP}`."""

    config: Celo2Config

    def init(self, key: Array) -> Theta:
        """Fresh θ: truncated normal weights of std 1/√fan_in, zero biases."""
        return trees.draw_weights(
            key, {"mlp": per_parameter_mlp.weights(velo.FEATURES, self.config.hidden_size, velo.OUTPUTS)}
        )

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with weights `theta`; the learning rate's schedule reads `num_steps`, nothing reads `value`."""
        num_steps = at_least_one(num_steps, self.config.name)
        decay = decayed_weights(self.config.weight_decay, multipliers, self._factor)
        adam = optax.chain(optax.scale_by_adam(*VECTOR_DECAYS), decay, optax.scale(self.config.vector_mult))
        chain = optax.chain(
            optax.multi_transform({"matrix": optax.chain(self._directions(theta), decay), "vector": adam}, _kinds),
            optax.scale_by_learning_rate(learning_rate(self.config, self.config.step_mult, num_steps)),
        )
        return under_multipliers(chain, multipliers, self.config, self._factor)

    def _factor(self, c: float, update: Array) -> float:
        return in_effect(self.config, c, update.ndim)

    def _directions(self, theta: Theta) -> optax.GradientTransformationExtraArgs:
        """The learned direction of every tensor, of RMS 1."""

        def init_fn(params: Params) -> DirectionState:
            return DirectionState(jax.tree.map(lambda p: accumulators.initial(p, _decays()), params))

        def update_fn(
            updates: Any, state: DirectionState, params: Params, *, shards: Shards | None = None, **extra: Any
        ) -> tuple[Any, DirectionState]:
            del extra

            def direct(g: Array, p: Array, old: Accumulators, shard: Shard) -> tuple[Array, Accumulators]:
                direction, accumulated = tensor_update.update(_rule(), theta["mlp"], _decays(), g, p, old, shard=shard)
                normalized = laid_out_alike(partial(self._normalized, shard=shard), (direction,), g)
                return normalized, accumulated

            laid_out = sharding.by_path(shards, updates)
            directions, tensors = unzip(jax.tree.map(direct, updates, params, state.tensors, laid_out), updates)
            return directions, DirectionState(tensors)

        return optax.GradientTransformationExtraArgs(init_fn, update_fn)

    def _normalized(self, direction: Array, shard: Shard) -> Array:
        if self.config.orthogonalize:
            # A step of Newton–Schulz multiplies whole matrices: every device takes it for all of them.
            direction = shard.part(orthogonalize(shard.gather(direction)))
        mean_square = shard.mean(jnp.square(direction), (-2, -1), keepdims=True)
        return direction * jax.lax.rsqrt(mean_square + RMS_EPS)


def in_effect(config: Celo2Config, c: float, rank: int) -> float:
    """The multiplier c of elementwise updates as it applies to a tensor of this rank: orthogonalised ones have √c."""
    return c**0.5 if config.orthogonalize and rank >= 2 else c


def _kinds(params: Params) -> Any:
    return jax.tree.map(lambda p: "matrix" if jnp.ndim(p) >= 2 else "vector", params)


def _rule() -> Rule:
    return Rule(
        tensor_features,
        velo=True,
        normalizer=NORMALIZER,
        moment_eps=MOMENT_EPS,
        vector_eps=0.0,
        exp_mult=0.0,
        clip=velo.GRADIENT_CLIP,
    )


def _decays() -> Decays:
    return Decays.of([0.9, 0.99, 0.999], [0.95], [0.9, 0.99, 0.999])


def tensor_features(given: TensorInputs) -> list[Array]:
    """VeLO's 30 features with a smaller epsilon."""
    return velo.features_with(given, MOMENT_EPS)


def orthogonalize(x: Array) -> Array:
    """Pulls all singular values of [..., rows, columns] towards 1 by five Newton–Schulz steps of degree 5."""
    if x.shape[-2] > x.shape[-1]:
        return orthogonalize(x.mT).mT
    a, b, c = NEWTON_SCHULZ
    matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + FROBENIUS_EPS)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = matmul(x, x.mT)
        x = a * x + matmul(b * gram + c * matmul(gram, gram), x)
    return x
