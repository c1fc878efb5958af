"""VeLO, SP and µP (Metz et al. 2022, arXiv 2211.09760; µLO, arXiv 2406.00153, equation 3 and tables 3 and 4).

Once per step an LSTM reads statistics of every tensor and mixes, for each, its own weights of the per-parameter MLP
out of `param_inits` copies; the MLP then moves every parameter. The LSTM sees the accumulators of before the step,
the MLP those of after it.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import rsqrt

from mulo import sharding, trees
from mulo.errors import ReferenceFileError
from mulo.optimizers import accumulators, loss_features, per_parameter_mlp, tensor_lstm, tensor_update
from mulo.optimizers.accumulators import MOMENT_EPS, Accumulators, Decays, TensorInputs
from mulo.optimizers.loss_features import LossFeatureState
from mulo.optimizers.per_parameter_mlp import MLPWeights
from mulo.optimizers.scaling import by_path
from mulo.optimizers.steps import moves
from mulo.optimizers.tensor_lstm import LSTMState, TensorLSTM
from mulo.optimizers.tensor_update import Rule
from mulo.optimizers.transformation import required
from mulo.optimizers.velo import VeLO
from mulo.sharding import Shard, Shards
from mulo.types import Array, Multiplier, Multipliers, Params, Theta

FEATURES = 30
ADAM_FEATURE = 7
"""Which feature is m · rsqrt(v) with β 0.9."""
OUTPUTS = 3
"""Direction, magnitude, and one that nothing reads; it is part of every stored θ."""
NORMALIZER = per_parameter_mlp.Normalizer(1e-5)
GRADIENT_CLIP = 1000.0
SMALL_CLIP = 0.1
SCALE_EPS = 1e-9
TIMES = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
"""τ of the features tanh(10·(t/num_steps − τ)), t before its increment."""
_FIRST_LAYER_PARTS = 14


class VeLOState(NamedTuple):
    """State of a training: per-tensor accumulators in the parameters' tree, LSTM state, loss averages, steps done."""

    tensors: Any
    lstm: LSTMState
    loss: LossFeatureState
    step: Array


def initial(optimizer: VeLO, key: Array) -> Theta:
    """Fresh θ: truncated normal weights of std 1/√fan_in, zero biases and LSTM state."""
    copies = (optimizer.param_inits,)
    mlp = per_parameter_mlp.weights(FEATURES, optimizer.hidden_size, OUTPUTS, copies)
    theta = trees.draw_weights(
        key, {"mlp": mlp, "lstm": tensor_lstm.weights(optimizer.lstm_hidden_size, optimizer.param_inits)}
    )
    if optimizer.start == "random":
        return theta
    mlp = per_parameter_mlp.at_adam(theta["mlp"], ADAM_FEATURE, optimizer.normalize_step)
    return {"mlp": mlp, "lstm": tensor_lstm.at_constants(theta["lstm"], 1 / optimizer.interp_mult)}


def scale_by_velo(
    optimizer: VeLO, theta: Theta, num_steps: Array, multipliers: Multipliers
) -> optax.GradientTransformationExtraArgs:
    """The steps of the mixed MLPs; `update` needs `value=loss`."""
    rule = rule_of(optimizer)

    def init_fn(params: Params) -> VeLOState:
        tensors = jax.tree.map(lambda p: accumulators.initial(p, _decays()), params)
        lstm = tensor_lstm.initial_state(theta["lstm"], len(jax.tree.leaves(params)))
        return VeLOState(tensors, lstm, loss_features.initial(), jnp.int32(0))

    def update_fn(
        updates: Any,
        state: VeLOState,
        params: Params,
        *,
        value: Array | None = None,
        shards: Shards | None = None,
        **extra: Any,
    ) -> tuple[Any, VeLOState]:
        del extra
        loss, laid_out = required(value, "value", optimizer.name), sharding.by_path(shards, updates)
        loss_state, loss_inputs = loss_features.update(state.loss, loss, num_steps)
        shared = jnp.concatenate([time_features(state.step, num_steps), loss_inputs])
        inputs = tensor_lstm.inputs(shared, params, state.tensors, laid_out, optimizer.scale_free)
        mlps, rates, lstm = _mix(optimizer, theta, inputs, state.lstm)
        order = jax.tree.unflatten(jax.tree.structure(updates), range(len(rates)))
        step = moves(optimizer, theta, num_steps, state.step, optimizer.normalize_step)
        known = by_path(multipliers, updates)

        def move(
            g: Array, p: Array, old: Accumulators, i: int, shard: Shard, c: Multiplier
        ) -> tuple[Array, Accumulators]:
            mlp = jax.tree.map(lambda weights: weights[i], mlps)
            direction, accumulated = tensor_update.update(rule, mlp, _decays(), g, p, old, shard=shard)
            factor = rates[i] * _scale(optimizer, p, shard)
            return step(direction, p, c, shard, factor), accumulated

        moved, tensors = trees.unzip(
            jax.tree.map(move, updates, params, state.tensors, order, laid_out, known), updates
        )
        return moved, VeLOState(tensors, lstm, loss_state, state.step + 1)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _mix(optimizer: VeLO, theta: Theta, inputs: Array, state: LSTMState) -> tuple[Any, Array, LSTMState]:
    """Per tensor: the mixed MLP weights and the factor `lr_mult` of its step, both with a leading axis."""
    controls, rates, state = tensor_lstm.apply(theta["lstm"], inputs, state)
    scale = optimizer.interp_mult / optimizer.param_inits

    def mixed(copies: Array) -> Array:
        return scale * jnp.tensordot(controls, copies, axes=1, precision=jax.lax.Precision.HIGHEST)

    return jax.tree.map(mixed, theta["mlp"]), rates, state


def _scale(optimizer: VeLO, p: Array, shard: Shard) -> Array | float:
    if not optimizer.param_scale_mult:
        return 1.0
    return jnp.sqrt(shard.mean(jnp.square(p)) + SCALE_EPS)


def rule_of(optimizer: VeLO) -> Rule:
    """What is static about its update."""
    return Rule(
        tensor_features,
        velo=True,
        normalizer=NORMALIZER,
        moment_eps=MOMENT_EPS,
        vector_eps=0.0,
        exp_mult=optimizer.exp_mult,
        clip=math.inf if optimizer.scale_free else GRADIENT_CLIP,
        scale_free=optimizer.scale_free,
    )


def _decays() -> Decays:
    return Decays.of([0.9, 0.99, 0.999], [0.999], [0.9, 0.99, 0.999])


def time_features(step: Array, num_steps: Array) -> Array:
    """[9], of the fraction of the training that is done."""
    return jnp.tanh(10 * (step.astype(jnp.float32) / num_steps - jnp.array(TIMES, jnp.float32)))


def tensor_features(given: TensorInputs) -> list[Array]:
    """The 30 features of one tensor, or of a part of it, before normalisation, in the order of the MLP's inputs."""
    return features_with(given, MOMENT_EPS)


def features_with(given: TensorInputs, moment_eps: float) -> list[Array]:
    """The features; `moment_eps` is added to the second moment before its rsqrt."""
    g, m, v = given.gradient, given.state.momentum, given.state.second_moment
    root = rsqrt(v + moment_eps)
    factored = accumulators.factored_features(given, vector_eps=0.0)
    # ± 0.1 of the gradient itself, whatever units it is given in: this one feature depends on the gradient's scale.
    limit = SMALL_CLIP * given.per_unit
    small = jnp.clip(g, -limit, limit)
    own = [g, small, given.parameter, m, v, m * root, root, factored.gradient, g * root]
    return [*own, *factored[1:]]


def read_haiku(arrays: Any) -> Theta:
    """θ by Haiku's names, from what `exchange.haiku` hands on."""
    mlp, rnn = read_haiku_mlp(arrays), "rnn_params/"
    state = LSTMState(arrays["lstm_init_state/hidden"], arrays["lstm_init_state/cell"])
    parts = ("linear_1", "linear_2", "rnn/linear", "rnn_to_controls", "step_size")
    lstm = TensorLSTM._make([*(arrays.linear(rnn + part) for part in parts), state])
    # Haiku's VeLO creates a layer named `linear` whose output nothing reads.
    arrays.refuse_rest(allowed=(f"{rnn}linear/w", f"{rnn}linear/b"))
    return {"mlp": mlp, "lstm": lstm}


def read_haiku_mlp(arrays: Any) -> MLPWeights:
    """The per-parameter MLP of VeLO and Celo2, whose first layer Haiku has in parts."""
    stack = "ff_mod_stack/~/"
    parts = [arrays[f"{stack}w0__{i}"] for i in range(_FIRST_LAYER_PARTS)]
    try:
        w0 = jnp.concatenate(parts, axis=-2)
    except (TypeError, ValueError) as error:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ReferenceFileError(f"θ has {stack}w0__0 … that do not fit together: {shapes}.") from error
    return MLPWeights(w0, *(arrays[stack + name] for name in ("b0", "w1", "b1", "w2", "b2")))
