"""Particles that advance batch by batch: the same θ, less memory."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import MLPConfig, OuterConfig, SyntheticDataConfig
from mulo.data import load
from mulo.meta.batches import batched
from mulo.meta.estimators import _batch
from mulo.meta.trainer import Trainer
from mulo.optimizers import SmallFC
from mulo.tasks import make_tasks

from .quadratic import MomentumOptimizer, Quadratic, recipe

OUTER = OuterConfig(learning_rate=0.1, warmup_start=0.01, warmup_steps=2, final_learning_rate=0.02, decay_steps=30)


def thetas(size, tasks, optimizer, steps):
    made = Trainer(tasks, optimizer, recipe(outer=OUTER, particles_per_batch=size, min_length=10), 0)
    state = made.initial()
    for _ in range(steps):
        state, _ = made.step(state)
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(state.theta)])


@cache
def quadratic(size):
    return thetas(size, (Quadratic(),), MomentumOptimizer(), 6)


@pytest.mark.parametrize("size", [1, 2])
def test_theta_does_not_depend_on_the_size_of_batches(size):
    # XLA may fuse a batch of another size otherwise: the last bits may differ.
    np.testing.assert_allclose(quadratic(size), quadratic(None), rtol=0, atol=1e-5)
    assert np.ptp(quadratic(None)) > 0.1


def network(size):
    data = load(SyntheticDataConfig(shape=[16]))
    tasks = make_tasks(MLPConfig(width=16, depth=2, batch_size=256), "mup", data)
    return Trainer(tasks, SmallFC(hidden_size=4), recipe(particles_per_batch=size, outer=OUTER), 0)


@cache
def outcome(size):
    """Compiled scratch of a truncation in bytes, and all parameters after one outer step."""
    trainer = network(size)
    state = trainer.initial()
    estimator, particles = trainer.estimators[0], state.particles[0]
    many = jax.tree.map(lambda x: jnp.zeros((8, *jnp.shape(x)), jnp.result_type(x)), state.theta)
    keys, lengths = jax.random.split(jax.random.key(0), 8), jnp.zeros(8, jnp.int32)
    arguments = (many, particles.training, lengths, lengths, estimator.task.data, keys, np.int32(0))
    compiled = estimator._compiled.lower(*arguments).compile()
    state, _ = trainer.step(state)
    moved = np.concatenate([np.ravel(x) for x in jax.tree.leaves((state.theta, state.particles[0].training.params))])
    return compiled.memory_analysis().temp_size_in_bytes, moved


@pytest.mark.slow
def test_smaller_batches_need_less_memory():
    assert outcome(1)[0] < 0.5 * outcome(None)[0]


@pytest.mark.slow
def test_networks_are_trained_alike_in_batches_and_at_once():
    np.testing.assert_allclose(outcome(1)[1], outcome(None)[1], rtol=0, atol=1e-5)


def test_a_device_takes_as_many_pairs_as_share_its_own_evenly():
    assert [_batch(8, wanted) for wanted in (None, 8, 4, 1)] == [8, 8, 4, 1]
    assert [_batch(4, 8), _batch(6, 4)] == [4, 3]


def test_state_and_results_keep_their_order():
    state, results = batched(lambda s, g: (s + g, 10 * g), jnp.zeros(6), jnp.arange(6.0), 2)
    np.testing.assert_array_equal(state, np.arange(6.0))
    np.testing.assert_array_equal(results, 10 * np.arange(6.0))
