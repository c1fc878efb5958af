"""Unbiased estimators against the exact meta-gradient of a noisy quadratic, truncated ES against what it leaves out."""

from functools import cache

import numpy as np
import pytest

from .quadratic import THETA, MomentumOptimizer, Quadratic, estimator, expected_losses, flat, history

TRUNCATION, TRUNCATIONS = 5, 4
LENGTH = TRUNCATION * TRUNCATIONS
SIGMA, PAIRS, REPETITIONS = 0.01, 4096, 16


def truncation_losses(thetas):
    """Expected mean losses [..., truncation], each under its own of `thetas` [..., truncation, 3]."""
    per_step = np.repeat(thetas, TRUNCATION, axis=-2)
    losses = expected_losses(Quadratic(), per_step, LENGTH)
    return losses.reshape(*losses.shape[:-1], TRUNCATIONS, TRUNCATION).mean(axis=-1)


SAME = np.tile(flat(THETA).astype(float), (TRUNCATIONS, 1))


def influence(noise=0.0):
    """[loss of truncation, θ of truncation, 3]: derivatives at θ, averaged over `noise` [samples, truncation, 3]."""
    moves = 1e-5 * np.eye(SAME.size).reshape(SAME.size, 1, *SAME.shape)
    rise = truncation_losses(SAME + noise + moves) - truncation_losses(SAME + noise - moves)
    return rise.mean(axis=1).T.reshape(TRUNCATIONS, TRUNCATIONS, 3) / 2e-5


def whole(noise=0.0):
    """Gradient of the mean loss over the whole unroll."""
    return influence(noise).sum(axis=(0, 1)) / TRUNCATIONS


EXACT = whole()
UNBIASED = ["pes", "nres", "es_single", "es"]


@cache
def single_steps(name):
    """Gradients of outer steps [repetitions, truncations, 3] and their losses, keys differing.

    First unrolls, which NRES shortens, are left out. Neighbouring repetitions share an ε under NRES, which makes its
    standard error a little too small, and the tests stricter.
    """
    made = estimator(
        estimator=name, truncation=TRUNCATION, min_length=LENGTH, max_length=LENGTH, start_offset=0,
        sigma=SIGMA, pairs=PAIRS, loss_clip=1e6,
    )  # fmt: skip
    calls = 1 if name == "es" else TRUNCATIONS
    seen = [estimate for _, estimate in history(made, calls * (1 + REPETITIONS))[calls:]]
    gradients = flat({k: np.stack([e.gradient[k] for e in seen]) for k in THETA})
    losses = np.array([e.meta_loss for e in seen])
    return gradients.reshape(REPETITIONS, calls, 3), losses.reshape(REPETITIONS, calls)


def estimates(name):
    """Gradients of whole unrolls [repetitions, 3] and mean losses [repetitions]."""
    gradients, losses = single_steps(name)
    return gradients.mean(axis=1), losses.mean(axis=1)


def standard_error(samples):
    """Of the mean's norm."""
    return np.sqrt(np.sum(np.var(samples, axis=0, ddof=1)) / len(samples))


def distance(name, truth):
    """Of the mean estimate from `truth`, in standard errors."""
    gradients, _ = estimates(name)
    return np.linalg.norm(gradients.mean(axis=0) - truth) / standard_error(gradients)


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_agree_with_the_exact_gradient(name):
    gradients, _ = estimates(name)
    assert standard_error(gradients) <= 0.02 * np.linalg.norm(EXACT)
    assert distance(name, EXACT) <= 4


def test_truncated_es_is_biased():
    assert distance("truncated_es", EXACT) >= 10


def test_truncated_es_misses_what_earlier_truncations_did():
    own = np.einsum("kkd->d", influence()) / TRUNCATIONS
    assert distance("truncated_es", own) <= 4


def test_an_outer_step_of_es_single_sees_one_truncation():
    gradients, _ = single_steps("es_single")
    for k, exact in enumerate(influence().sum(axis=1)):
        found = gradients[:, k]
        assert np.linalg.norm(found.mean(axis=0) - exact) <= 4 * standard_error(found)
        assert np.linalg.norm(exact - EXACT) > 0.4 * np.linalg.norm(EXACT), "no truncation stands for all"


def test_an_outer_step_of_nres_sees_the_whole_unroll():
    """Up to how evenly 4096 particles happen to be spread over 4 truncations."""
    gradients, _ = single_steps("nres")
    for found in gradients.mean(axis=0):
        assert np.linalg.norm(found - EXACT) <= 0.1 * np.linalg.norm(EXACT)


@pytest.mark.parametrize("name", [*UNBIASED, "truncated_es"])
def test_meta_loss_is_the_expected_loss(name):
    _, losses = estimates(name)
    expected = truncation_losses(SAME).mean()
    assert abs(losses.mean() - expected) <= 4 * standard_error(losses)


@pytest.mark.parametrize("independent", [1, TRUNCATIONS], ids=["one ε per unroll", "pes"])
def test_smoothing_bias_is_far_below_the_standard_error(independent):
    """Estimators see losses averaged over ε: measured at 0.01 % of the gradient's norm for σ = 0.01."""
    noise = np.random.default_rng(0).standard_normal((2000, independent, 3))
    noise = np.concatenate([noise, -noise]) * np.ones((TRUNCATIONS, 1))
    bias, half = (np.linalg.norm(whole(s * noise) - EXACT) for s in (SIGMA, SIGMA / 2))
    assert bias < 2e-4 * np.linalg.norm(EXACT)
    assert bias / half == pytest.approx(4, rel=0.01), "smoothing acts with σ²"


def test_sides_share_initialization_and_minibatches():
    particles, estimate = history(estimator(optimizer=MomentumOptimizer(deaf=True)), 1)[0]
    weights = particles.training.params["w"].reshape(4, 2, 2)
    assert not flat(estimate.gradient).any()
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    assert len(np.unique(weights[:, 0])) == 8, "pairs differ from each other"
