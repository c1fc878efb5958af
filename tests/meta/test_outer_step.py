"""What is done around the outer optimizer, against sums written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import OuterConfig, RecipeConfig
from mulo.meta.estimators import Estimate
from mulo.meta.outer_step import NORM_DECAY, OuterStep
from mulo.meta.state import candidate, initial_state

from .test_outer import FAST, rate

START = np.array([0.5, -2.0, 1.0])
STEPS = 8
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 2, 3)) * np.array([[1.0], [100.0]])
"""Of two tasks, one of which would drown the other."""


def states(gradients=GRADIENTS, went_back=None, theta=START, outer=FAST, **changes):
    """The state after each step from `theta`."""
    recipe = RecipeConfig(outer=OuterConfig(**{"weight_decay": 0.0, "clip": "none", **outer}), **changes)
    move, start = OuterStep(recipe), jnp.float32(START)
    state = initial_state(recipe, jnp.float32(theta), move.optimizer.init(start), (None, None))
    if went_back is not None:
        state = state._replace(went_back=jnp.int32(went_back))
    seen = []
    for step, of_tasks in enumerate(gradients):
        estimates = tuple(Estimate(jnp.float32(g), *jnp.zeros(3)) for g in of_tasks)
        state, norms = move(state._replace(step=jnp.int32(step)), estimates, start if recipe.outer.pull else None)
        seen.append((state, norms))
    return seen


def thetas(**changes):
    return np.array([state.theta for state, _ in states(**changes)])


def test_a_pull_without_gradient_shrinks_the_distance_to_the_start():
    away = START + np.array([1.0, 2.0, -1.0])
    found = thetas(theta=away, gradients=np.zeros_like(GRADIENTS), outer=FAST | {"pull": 0.7})
    shares = np.cumprod([1 - 0.7 * rate(step, **FAST) for step in range(STEPS)])
    np.testing.assert_allclose(found, START + shares[:, None] * (away - START), rtol=1e-5)


def test_a_pull_acts_on_the_theta_that_the_optimizer_gives():
    (first, *_), (pulled, *_) = thetas(), thetas(outer=FAST | {"pull": 0.7})
    np.testing.assert_allclose(pulled, first - 0.7 * rate(0, **FAST) * (first - START), rtol=1e-5)


def test_the_average_is_that_of_theta():
    seen, average, expected = states(outer=FAST | {"average": 0.9}), START, []
    for state, _ in seen:
        average = 0.9 * average + 0.1 * np.asarray(state.theta, float)
        expected.append(average)
    np.testing.assert_allclose([candidate(state) for state, _ in seen], expected, rtol=1e-5)
    np.testing.assert_array_equal([state.theta for state, _ in seen], thetas(), "θ itself goes on as without")


def test_gradients_are_divided_by_the_running_rms_of_their_norms():
    """What AdamW is given shows in its first moment."""
    squares, moment = np.zeros(2), np.zeros(3)
    for (state, norms), gradients, t in zip(states(normalize_tasks=True), GRADIENTS, range(STEPS), strict=True):
        squares = NORM_DECAY * squares + (1 - NORM_DECAY) * np.sum(gradients**2, axis=1)
        rms = np.sqrt(squares / (1 - NORM_DECAY ** (t + 1)))
        mean = np.mean(gradients / rms[:, None], axis=0)
        moment = 0.9 * moment + 0.1 * mean
        (adam,) = (part.mu for part in jax.tree.leaves(state.outer, is_leaf=_has_mu) if _has_mu(part))
        np.testing.assert_allclose(adam, moment, rtol=1e-4, atol=1e-6)
        assert norms["gradient_norm"] == pytest.approx(np.linalg.norm(mean), rel=1e-4)
    np.testing.assert_allclose(state.task_squares, squares, rtol=1e-5)


def _has_mu(part):
    return hasattr(part, "mu")


def test_a_task_without_gradient_stays_without_effect():
    gradients = GRADIENTS * np.array([[0.0], [1.0]])
    assert np.isfinite(thetas(gradients=gradients, normalize_tasks=True)).all()


@pytest.mark.parametrize("times", [0, 1, 3])
def test_updates_are_halved_each_time_that_theta_went_back(times):
    (state, norms), (plain, plain_norms) = states(went_back=times, go_back=0.1)[0], states()[0]
    np.testing.assert_allclose(state.theta - START, (plain.theta - START) / 2**times, rtol=1e-4)
    for name in ("learning_rate", "update_norm"):
        assert float(norms[name]) == pytest.approx(float(plain_norms[name]) / 2**times, rel=1e-5)
