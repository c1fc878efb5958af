"""VeLO, SP and µP (Metz et al. 2022, arXiv 2211.09760; µLO, arXiv 2406.00153, equation 3 and tables 3 and 4).

Once per step an LSTM reads statistics of every tensor and mixes, for each, its own weights of the per-parameter MLP
out of `param_inits` copies; the MLP then moves every parameter. The LSTM sees the accumulators of before the step,
the MLP those of after it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import rsqrt

from mulo import sharding, trees
from mulo.config import VeLOConfig
from mulo.optimizers import accumulators, loss_features, per_parameter_mlp, tensor_lstm, tensor_update
from mulo.optimizers.accumulators import MOMENT_EPS, Accumulators, Decays, TensorInputs
from mulo.optimizers.loss_features import LossFeatureState
from mulo.optimizers.scaling import by_path, cast_like, float32, unzip
from mulo.optimizers.tensor_lstm import LSTMState
from mulo.optimizers.tensor_update import Rule
from mulo.optimizers.transformation import at_least_one, required, transformation
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multipliers, Params, Theta

FEATURES = 30
OUTPUTS = 3
"""Direction, magnitude, and one that nothing reads; it is part of every stored θ."""
NORMALIZER = per_parameter_mlp.Normalizer(1e-5)
GRADIENT_CLIP = 1000.0
SMALL_CLIP = 0.1
SCALE_EPS = 1e-9


class VeLOState(NamedTuple):
    """State of a training: per-tensor accumulators in the parameters' tree, LSTM state, loss averages, steps done."""

    tensors: Any
    lstm: LSTMState
    loss: LossFeatureState
    step: Array


@dataclass(frozen=True)
class VeLO:
    """The optimizer's static settings; θ is `{"mlp": MLP with a leading axis [param_inits], "lstm": TensorLSTM}`."""

    config: VeLOConfig

    def init(self, key: Array) -> Theta:
        """Fresh θ: truncated normal weights of std 1/√fan_in, zero biases and LSTM state."""
        config = self.config
        mlp = per_parameter_mlp.weights(FEATURES, config.hidden_size, OUTPUTS, copies=(config.param_inits,))
        lstm = tensor_lstm.weights(config.lstm_hidden_size, config.param_inits)
        return trees.draw_weights(key, {"mlp": mlp, "lstm": lstm})

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with weights `theta` for a training of `num_steps` steps; `update` needs `value=loss`."""
        num_steps, rule = at_least_one(num_steps, self.config.name), self._rule()

        def init_fn(params: Params) -> VeLOState:
            tensors = jax.tree.map(lambda p: accumulators.initial(p, _decays()), params)
            lstm = tensor_lstm.initial_state(theta["lstm"], len(jax.tree.leaves(params)))
            return VeLOState(tensors, lstm, loss_features.initial(), jnp.int32(0))

        def update_fn(
            updates: Any,
            state: VeLOState,
            params: Params,
            *,
            value: Array | None,
            shards: Shards | None,
            **extra: Any,
        ) -> tuple[Any, VeLOState]:
            del extra
            loss = required(value, "value", self.config.name)
            params, laid_out = float32(params), sharding.by_path(shards, updates)
            loss_state, loss_inputs = loss_features.update(state.loss, loss, num_steps)
            shared = jnp.concatenate([_fraction_left(state.step.astype(jnp.float32) / num_steps), loss_inputs])
            inputs = tensor_lstm.inputs(shared, params, state.tensors, laid_out)
            mlps, rates, lstm = self._mix(theta, inputs, state.lstm)
            order = jax.tree.unflatten(jax.tree.structure(updates), range(len(rates)))

            def move(
                g: Array, p: Array, old: Accumulators, c: float, i: int, shard: Shard
            ) -> tuple[Array, Accumulators]:
                mlp = jax.tree.map(lambda weights: weights[i], mlps)
                step, accumulated = tensor_update.update(rule, mlp, _decays(), g, p, old, shard=shard)
                return -c * rates[i] * self._scale(p, shard) * step, accumulated

            c = by_path(multipliers, updates)
            pairs = jax.tree.map(move, float32(updates), params, state.tensors, c, order, laid_out)
            moved, tensors = unzip(pairs, updates)
            return cast_like(moved, updates), VeLOState(tensors, lstm, loss_state, state.step + 1)

        return transformation(init_fn, update_fn, multipliers, self.config)

    def _mix(self, theta: Theta, inputs: Array, state: LSTMState) -> tuple[Any, Array, LSTMState]:
        """Per tensor: the mixed MLP weights and the factor `lr_mult` of its step, both with a leading axis."""
        controls, rates, state = tensor_lstm.apply(theta["lstm"], inputs, state)
        scale = self.config.interp_mult / self.config.param_inits

        def mixed(copies: Array) -> Array:
            return scale * jnp.tensordot(controls, copies, axes=1, precision=jax.lax.Precision.HIGHEST)

        return jax.tree.map(mixed, theta["mlp"]), rates, state

    def _scale(self, p: Array, shard: Shard) -> Array | float:
        if not self.config.param_scale_mult:
            return self.config.step_mult
        return self.config.step_mult * jnp.sqrt(shard.mean(jnp.square(p)) + SCALE_EPS)

    def _rule(self) -> Rule:
        return Rule(
            tensor_features,
            velo=True,
            normalizer=NORMALIZER,
            moment_eps=MOMENT_EPS,
            vector_eps=0.0,
            exp_mult=self.config.exp_mult,
            clip=GRADIENT_CLIP,
        )


def _decays() -> Decays:
    return Decays.of([0.9, 0.99, 0.999], [0.999], [0.9, 0.99, 0.999])


def _fraction_left(fraction: Array) -> Array:
    """[9], tanh(10·(f − τ)) with f = t/num_steps, t before its increment."""
    return jnp.tanh(10 * (fraction - jnp.array([0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1], jnp.float32)))


def tensor_features(given: TensorInputs) -> list[Array]:
    """The 30 features of one tensor, or of a part of it, before normalisation, in the order of the MLP's inputs."""
    return features_with(given, MOMENT_EPS)


def features_with(given: TensorInputs, moment_eps: float) -> list[Array]:
    """The features; `moment_eps` is added to the second moment before its rsqrt."""
    g, m, v = given.gradient, given.state.momentum, given.state.second_moment
    root = rsqrt(v + moment_eps)
    factored = accumulators.factored_features(given, vector_eps=0.0)
    small = jnp.clip(g, -SMALL_CLIP, SMALL_CLIP)
    own = [g, small, given.parameter, m, v, m * root, root, factored.gradient, g * root]
    return [*own, *factored[1:]]
