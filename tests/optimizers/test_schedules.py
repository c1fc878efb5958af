"""Learning rates over a training against optax's, and learned optimizers' updates under them."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.optimizers import AdamW, Celo2
from tests.optimizers.learned_steps import MUP, PARAMS, SMALL_FC, SP, VELO, normal, theta_of, updates

PEAK, FINAL = 0.3, 0.2


def optax_rates(name, length, warmup, stable):
    """[length] of optax: rising from 0, a step ahead of ours, which has no step of rate 0; then the same."""
    falls = {
        "warmup_cosine": optax.cosine_decay_schedule(PEAK, length - warmup, FINAL),
        "warmup_linear": optax.linear_schedule(PEAK, FINAL * PEAK, length - warmup),
        "warmup_stable_decay": optax.linear_schedule(PEAK, FINAL * PEAK, length - stable, stable - warmup),
    }
    rising = optax.linear_schedule(0.0, PEAK, warmup)
    return [float(rising(t + 1) if t < warmup else falls[name](t - warmup)) for t in range(length)]


def rates(optimizer, length):
    """[length] of ours, of a fresh training."""
    schedule = optimizer.scheduled(PEAK, jnp.float32(length))
    return np.array(schedule(jnp.arange(length)))


FALLS = ("warmup_cosine", "warmup_linear", "warmup_stable_decay")


@pytest.mark.parametrize("name", FALLS)
def test_rates_are_those_of_optax(name):
    """Where both rise and fall within the training, of which these are all steps."""
    optimizer = AdamW(schedule=name, warmup_fraction=0.25, stable_fraction=0.6, final_fraction=FINAL)
    np.testing.assert_allclose(rates(optimizer, 20), optax_rates(name, 20, 5, 12), rtol=1e-5)


def test_the_warmup_of_optax_lags_one_step_behind():
    """Its cosine schedule as a whole, from the end of the warm-up on."""
    optimizer = AdamW(schedule="warmup_cosine", warmup_fraction=0.25, final_fraction=FINAL)
    theirs = optax.warmup_cosine_decay_schedule(0.0, PEAK, 5, 20, FINAL * PEAK)
    expected = np.array([float(theirs(t)) for t in range(20)])
    found = rates(optimizer, 20)
    np.testing.assert_allclose(found[5:], expected[5:], rtol=1e-5)
    np.testing.assert_allclose(found[:5], expected[1:6], rtol=1e-5)


@pytest.mark.parametrize("name", FALLS)
def test_the_ends_of_a_training(name):
    """At the first step, at the end of the warm-up and at the last step; without warm-up the first is the highest."""
    optimizer = AdamW(schedule=name, warmup_fraction=0.1, final_fraction=FINAL)
    found = rates(optimizer, 100) / PEAK
    assert found[0] == pytest.approx(0.1)
    assert found[9] == found[10] == pytest.approx(1)
    assert FINAL < found[-1] < FINAL + 0.05
    assert rates(replace(optimizer, warmup_fraction=0.0), 100)[0] == pytest.approx(PEAK)
    assert np.all(np.diff(found[10:]) <= 1e-7)


def test_a_stable_rate_is_held_until_its_decay():
    found = rates(AdamW(schedule="warmup_stable_decay", stable_fraction=0.6, final_fraction=0.0), 100)
    np.testing.assert_allclose(found[5:61], PEAK, rtol=1e-6)
    assert found[80] == pytest.approx(PEAK / 2)


def test_decay_begins_after_a_warmup_that_is_longer():
    found = rates(AdamW(schedule="warmup_stable_decay", stable_fraction=0.2, warmup_fraction=0.5), 20)
    assert np.argmax(found) == 9
    assert np.all(np.diff(found[10:]) < 0)


LENGTH = 8
GRADIENTS = normal(2, 0.1, LENGTH)


@pytest.mark.parametrize("multipliers", [MUP, SP], ids=["mup", "sp"])
@pytest.mark.parametrize("config", [SMALL_FC, VELO, Celo2()], ids=lambda config: config.architecture)
def test_updates_of_learned_optimizers_are_multiplied_by_the_schedule(config, multipliers):
    """Weight decay included; parameters do not move, so that both see the same."""
    config = replace(config, weight_decay=0.3)
    theta = theta_of(config)
    shapes = {"warmup_fraction": 0.5, "stable_fraction": 0.75, "final_fraction": FINAL}
    constant = updates(config, theta, GRADIENTS, multipliers, LENGTH)
    found = updates(replace(config, schedule="warmup_stable_decay", **shapes), theta, GRADIENTS, multipliers, LENGTH)
    share = np.array(optax_rates("warmup_stable_decay", LENGTH, 4, 6)) / PEAK
    for name, wanted in constant.items():
        along = share.reshape(-1, *(1,) * PARAMS[name].ndim)
        np.testing.assert_allclose(found[name], along * wanted, rtol=1e-5, atol=1e-9)
