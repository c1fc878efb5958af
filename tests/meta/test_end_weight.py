"""Meta-gradients of weighed losses against sums written out, on a quadratic without noise, whose losses are known."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from mulo.meta.estimators import end_weights

from .quadratic import THETA, MomentumOptimizer, Quadratic, estimator, expected_losses, flat, history
from .test_trainer import made

TRUNCATION, LENGTH, SIGMA, STEPS, POWER = 5, 20, 0.01, 3, 2.0
QUIET = Quadratic(noise=0.0, spread=0.0)


@cache
def seen(name, power):
    """(particles, estimate) after each step; all unrolls have one length."""
    made = estimator(QUIET, MomentumOptimizer(), estimator=name, start_offset=0, sigma=SIGMA, end_weight=power)
    return history(made, STEPS)


def epsilons(name):
    """[steps, pairs, 3] perturbations under which trainings moved, from ξ."""
    xi = np.stack([flat(particles.xi) for particles, _ in seen(name, POWER)]).astype(float)
    return np.diff(xi, axis=0, prepend=0) if name == "pes" else xi


def losses(name):
    """[steps, pairs, 2, inner steps] of all trainings, and the age at which each inner step was taken, from 1."""
    whole = name == "es"
    inner = LENGTH if whole else TRUNCATION
    epsilon = epsilons(name)
    around = flat(THETA).astype(float) + np.stack([epsilon, -epsilon], axis=2)  # [steps, pairs, 2, 3]
    path = np.repeat(around[..., None, :], inner, axis=-2)  # every inner step's θ
    if not whole:
        path = np.concatenate(path, axis=-2)  # [pairs, 2, all inner steps, 3]
        rest = np.repeat(path[..., -1:, :], LENGTH - STEPS * inner, axis=-2)
        found = expected_losses(QUIET, np.concatenate([path, rest], axis=-2), LENGTH)[..., : STEPS * inner]
        found = np.moveaxis(found.reshape(*found.shape[:-1], STEPS, inner), -2, 0)
    else:
        found = expected_losses(QUIET, path, LENGTH)
    ends = np.stack([particles.age for particles, _ in seen(name, POWER)])
    return found, ends[..., None] - inner + 1 + np.arange(inner)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("nres", "es_single", "truncated_es")]


@pytest.mark.parametrize("name", ["pes", "es", *SLOW])
def test_losses_weigh_by_their_age(name):
    """NRES's first unrolls start in their middle and end earlier: only steps before the first end are compared."""
    found, ages = losses(name)
    weights = (POWER + 1) * (ages / LENGTH) ** POWER
    xi = np.stack([flat(particles.xi) for particles, _ in seen(name, POWER)])
    steps = 1 if name == "nres" else STEPS
    for step in range(steps):
        weighed = (found[step] * weights[step][:, None]).mean(axis=-1)
        by_hand = np.mean(xi[step] * (weighed[:, :1] - weighed[:, 1:]) / (2 * SIGMA**2), axis=0)
        estimate = seen(name, POWER)[step][1]
        np.testing.assert_allclose(flat(estimate.gradient), by_hand, rtol=0.02, atol=0.003 * np.abs(by_hand).max())
        assert estimate.meta_loss == pytest.approx(found[step].mean(), rel=1e-4), "it is reported unweighed"


def test_the_meta_gradient_changes_and_the_meta_loss_does_not():
    (_, plain), (_, weighed) = (seen("pes", power)[0] for power in (0.0, POWER))
    assert weighed.meta_loss == plain.meta_loss
    assert np.abs(flat(weighed.gradient)).max() < 0.2 * np.abs(flat(plain.gradient)).max(), "the start counts little"


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_weights_are_one_on_average(power):
    length = 1000
    parts = [end_weights(power, jnp.int32(age), jnp.int32(length), 100) for age in range(0, length, 100)]
    weights = np.concatenate(parts)
    np.testing.assert_allclose(weights, (power + 1) * (np.arange(1, length + 1) / length) ** power, rtol=1e-4)
    assert weights.mean() == pytest.approx(1 + (power + 1) / (2 * length), rel=1e-4)


def test_a_validation_is_not_weighed():
    plain, weighed = (made(end_weight=power) for power in (0.0, POWER))
    theta = plain.initial_theta()
    assert weighed.validate(theta) == pytest.approx(plain.validate(theta), rel=1e-6)
