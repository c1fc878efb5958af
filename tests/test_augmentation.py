"""Reparametrized weights: the same network in other units, other units in every training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import Augmentation, MLPConfig
from mulo.data.sources import in_memory
from mulo.optimizers import AdamW
from mulo.tasks import augmented, make_tasks
from mulo.unroll import start, unroll

LEVELS = ("global", "tensor", "parameter")
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    host = {f"{split}_images": rng.integers(0, 255, (20, 2, 2)).astype(np.uint8) for split in ("train", "test")}
    return in_memory("tiny", host | {f"{split}_labels": np.arange(20) % 3 for split in ("train", "test")})


def tasks(dataset, level, largest=10.0):
    config = MLPConfig(width=4, depth=2, batch_size=8, augmentation=Augmentation(level, largest))
    plain = make_tasks(config, "sp", dataset)
    return plain[0], augmented(plain, config)[0]


def test_none_leaves_the_task_alone(dataset):
    plain, same = tasks(dataset, "none")
    assert same is plain


@pytest.mark.parametrize("level", LEVELS)
def test_a_network_starts_as_the_same_function_and_its_gradient_is_scaled(level, dataset, jit):
    plain, other = tasks(dataset, level)
    batch, factors = plain.sample(plain.data, KEY), other.draw(KEY)
    weights, units = plain.init(KEY), other.init(KEY)
    loss, own = jit(jax.value_and_grad(plain.loss))(weights, batch)
    same, scaled = jit(jax.value_and_grad(other.loss))(units, batch, factors)
    assert float(same) == pytest.approx(float(loss), rel=1e-5)
    assert float(other.full_loss(units, plain.data, "test", factors)) == pytest.approx(
        float(plain.full_loss(weights, plain.data, "test")), rel=1e-5
    )
    jax.tree.map(lambda g, s, a: np.testing.assert_allclose(s, a * g, rtol=1e-3, atol=1e-6), own, scaled, factors)


@pytest.mark.parametrize(
    ("level", "different"), [("global", 1), ("tensor", 6), ("parameter", 4 * 4 + 4 + 16 + 4 + 12 + 3)]
)
def test_levels_say_how_many_factors_there_are(level, different, dataset):
    _, other = tasks(dataset, level)
    drawn = np.concatenate([np.ravel(x) for x in jax.tree.leaves(other.draw(KEY))])
    assert len(np.unique(drawn)) == different


def test_factors_are_log_uniform_within_their_range(dataset):
    _, other = tasks(dataset, "global", largest=100.0)
    keys = jax.random.split(KEY, 2000)
    logs = np.log10(jax.vmap(lambda key: jax.tree.leaves(other.draw(key))[0])(keys))
    assert -2 <= logs.min() < -1.95
    assert 1.95 < logs.max() <= 2
    assert abs(logs.mean()) < 0.1
    assert logs.std() == pytest.approx(4 / np.sqrt(12), rel=0.05)


def test_an_unroll_trains_in_the_units_its_training_drew(dataset):
    """One step of gradient descent at rate r on φ moves w = a·φ by a²·r times the gradient."""
    plain, other = tasks(dataset, "global")
    config = AdamW(learning_rate=1e-3, b1=0.0, b2=0.0, eps=1e6)  # so large an ε makes Adam gradient descent
    optimizer = config
    theta, keys = optimizer.init(KEY), jax.random.split(KEY, 1)
    moved = []
    for task in (plain, other):
        begun = start(task, optimizer, theta, 1, KEY)
        ended, _ = unroll(task, optimizer, theta, begun, 1, task.data, keys)
        moved.append(jax.tree.map(jnp.subtract, ended.params, begun.params)["output"]["bias"])
    a = jax.tree.leaves(other.draw(KEY))[0]
    np.testing.assert_allclose(moved[1], a * moved[0], rtol=1e-3)
    assert abs(float(a) - 1) > 0.05
