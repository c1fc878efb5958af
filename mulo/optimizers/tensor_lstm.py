"""VeLO's per-tensor LSTM: from statistics of every tensor to its mixing weights and learning rate.

Source: Metz et al. 2022 (arXiv 2211.09760); the LSTM is Haiku's (gates i, g, f, o; forget bias +1).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulo.optimizers.accumulators import Accumulators, per_unit
from mulo.optimizers.tensor_statistics import Statistics, statistics
from mulo.sharding import Shard
from mulo.trees import Weight
from mulo.types import Array, Params

INPUTS = 30
RANKS = 5


class Linear(NamedTuple):
    """Weights [inputs, outputs] and biases [outputs]."""

    w: Any
    b: Any

    def __call__(self, x: Array) -> Array:
        """[tensors, inputs] → [tensors, outputs], in full float32 on every backend."""
        return jnp.matmul(x, self.w, precision=jax.lax.Precision.HIGHEST) + self.b[None]


class LSTMState(NamedTuple):
    """Hidden and cell state, each [tensors, lstm_hidden_size]."""

    hidden: Any
    cell: Any


class TensorLSTM(NamedTuple):
    """Weights of the per-tensor network."""

    others: Linear
    """What a tensor tells the others (Haiku's `linear_1`)."""
    own: Linear
    """What a tensor tells itself (`linear_2`)."""
    gates: Linear
    controls: Linear
    step_size: Linear
    initial: LSTMState
    """[1, lstm_hidden_size], the state every tensor starts from."""


def weights(hidden: int, param_inits: int) -> TensorLSTM:
    """How fresh weights are drawn: std 1/√fan_in, zero biases and initial state."""
    state = LSTMState(Weight((1, hidden)), Weight((1, hidden)))
    sizes = [(INPUTS, hidden), (INPUTS, hidden), (2 * hidden, 4 * hidden), (hidden, param_inits), (hidden, 1)]
    linears = [Linear(Weight(size, size[0] ** -0.5), Weight(size[1:])) for size in sizes]
    return TensorLSTM._make([*linears, state])


def at_constants(lstm: TensorLSTM, control: float) -> TensorLSTM:
    """Random weights made to give all mixing weights as `control` and all step sizes as 1.

    What is added to them is a tenth of what it was, relative to the constants.
    """
    controls = Linear(0.1 * control * lstm.controls.w, jnp.full_like(lstm.controls.b, control))
    step_size = Linear(0.1 * lstm.step_size.w, jnp.ones_like(lstm.step_size.b))
    return lstm._replace(controls=controls, step_size=step_size)


def initial_state(lstm: TensorLSTM, tensors: int) -> LSTMState:
    """One copy of the learned initial state per tensor."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (tensors, x.shape[1])), lstm.initial)


def apply(lstm: TensorLSTM, inputs: Array, state: LSTMState) -> tuple[Array, Array, LSTMState]:
    """[tensors, 30] → controls [tensors, param_inits], step sizes [tensors], new state."""
    mixed = lstm.own(inputs) + jnp.max(jax.nn.relu(lstm.others(inputs)), axis=0, keepdims=True)
    gates = lstm.gates(jnp.concatenate([mixed, state.hidden], axis=-1))
    i, g, f, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f + 1) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return lstm.controls(hidden), lstm.step_size(hidden)[:, 0], LSTMState(hidden, cell)


def inputs(shared: Array, params: Params, tensors: Any, shards: Any, scale_free: bool) -> Array:
    """[tensors, 30]: the shared inputs (fraction left, loss features) and each tensor's own statistics."""
    own = jnp.stack(jax.tree.leaves(jax.tree.map(partial(_statistics, scale_free), params, tensors, shards)))
    return jnp.concatenate([jnp.broadcast_to(shared, (len(own), len(shared))), own], axis=1)


def _statistics(scale_free: bool, p: Array, state: Accumulators, shard: Shard) -> Array:
    """[12]: mean rms 1, rank one-hot 5, momentum variance 3, rms variance 3 (around the momentum's mean)."""
    means = (_statistics_in_units if scale_free else statistics)(p.astype(jnp.float32), state, shard)
    # The published code scales the moments by 1/rms(p) first, which scales these means by it or by its square.
    squared = 1 / jnp.maximum(1e-9, means.parameter)
    rank = jax.nn.one_hot(sum(size > 1 for size in p.shape), RANKS, dtype=jnp.float32)
    second_moment = _squash(jnp.sqrt(squared) * means.second_moment)
    variances = [_squash(squared * means.momentum_variance), _squash(squared * means.second_moment_spread)]
    return jnp.concatenate([second_moment, rank, *variances])


def _statistics_in_units(p: Array, state: Accumulators, shard: Shard) -> Statistics:
    """Of moments in units of the gradient's size: those of m and v over it, which copies v alone, times its powers."""
    unit = per_unit(state, shard)
    means = statistics(p, state._replace(second_moment=unit * state.second_moment), shard)
    once = unit.reshape(())
    return Statistics(
        means.parameter,
        once * means.momentum,
        once * means.second_moment,
        once**2 * means.momentum_variance,
        once**2 * means.second_moment_spread,
    )


def _squash(x: Array) -> Array:
    return 0.5 * jnp.clip(jnp.log(1e-8 + jnp.abs(10 * x)), -5, 5)
