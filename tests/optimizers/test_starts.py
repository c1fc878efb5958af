"""`start=adam` and `normalize_step`: what a learned optimizer does before it is meta-trained, and how far it goes."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from mulo.optimizers import Celo2
from tests.optimizers.learned_steps import (
    MUP,
    PARAMS,
    SHAPES,
    SMALL_FC,
    SP,
    STEPS,
    VELO,
    distance,
    normal,
    rms,
    theta_of,
    updates,
)

GRADIENTS = normal(2, 100.0, STEPS)
"""Their second moments are far larger than the constants that stand beside them, also of small entries."""
WIDER = {"hidden_size": 8, "start": "adam"}
ADAM = {
    "small_fc": (replace(SMALL_FC, **WIDER), 3.0),
    "small_fc_normalized": (replace(SMALL_FC, **WIDER, normalize_step=True), 1.0),
    "velo": (replace(VELO, **WIDER), 3.0),
    "velo_normalized": (replace(VELO, **WIDER, normalize_step=True), 1.0),
    "celo2": (replace(Celo2(), **WIDER), 1.0),
}
"""With the root mean square of an update in units of λ1."""


def adam(config):
    """Adam's direction at every step by optax, whose bias correction is one factor per step."""
    transform = optax.scale_by_adam(0.9, 0.95 if isinstance(config, Celo2) else 0.999, eps=0.0)
    state, found = transform.init(PARAMS), []
    for t in range(STEPS):
        moved, state = transform.update({name: g[t] for name, g in GRADIENTS.items()}, state)
        found.append(moved)
    return jax.tree.map(lambda *x: np.stack([np.float64(step) for step in x]), *found)


def fresh(optimizer):
    return jax.jit(optimizer.init)(jax.random.key(0))


def without_noise(theta):
    """The random part of the start taken away."""
    mlp = theta["mlp"]._replace(w2=theta["mlp"].w2.at[..., 2:, :].set(0))
    if "lstm" not in theta:
        return theta | {"mlp": mlp}
    lstm = theta["lstm"]
    still = lambda linear: linear._replace(w=0 * linear.w)  # noqa: E731
    return {"mlp": mlp, "lstm": lstm._replace(controls=still(lstm.controls), step_size=still(lstm.step_size))}


def direction(name, adams, step, config):
    """Adam's of one tensor with RMS 1, over the last two axes under Celo2."""
    axes = (-2, -1) if isinstance(config, Celo2) else None
    return adams[name][step] / np.sqrt(np.mean(adams[name][step] ** 2, axis=axes, keepdims=True))


def learned_tensors(config):
    return [name for name, shape in SHAPES.items() if len(shape) >= 2 or not isinstance(config, Celo2)]


@pytest.mark.parametrize("multipliers", [MUP, pytest.param(SP, marks=pytest.mark.slow)], ids=["mup", "sp"])
@pytest.mark.parametrize("name", ADAM)
def test_a_start_at_adam_moves_as_adam_does(name, multipliers):
    config, size = ADAM[name]
    adams, theta = adam(config), fresh(config)
    exact, noisy = (updates(config, x, GRADIENTS, multipliers) for x in (without_noise(theta), theta))
    for key in learned_tensors(config):
        for t in range(STEPS):
            step = config.step_mult * float(multipliers[key])
            wanted = -step * size * direction(key, adams, t, config)
            assert distance(exact[key][t], wanted) < 1e-3
            assert distance(noisy[key][t], wanted) < 0.3
            correlation = np.sum(noisy[key][t] * wanted) / np.sqrt(np.sum(noisy[key][t] ** 2) * np.sum(wanted**2))
            assert correlation > 0.95
            assert rms(noisy[key][t]) / step == pytest.approx(size, rel=0.2)
    assert distance(noisy["hidden"], exact["hidden"]) > 1e-3


def test_velo_starts_alike_whatever_its_mixed_weights_are_multiplied_by():
    """In SP by 100: the LSTM's constants, and what it adds to them, are divided by it."""
    config, _ = ADAM["velo"]
    one, hundred = (replace(config, interp_mult=x) for x in (1.0, 100.0))
    expected, found = (updates(x, fresh(x), GRADIENTS, SP) for x in (one, hundred))
    for key, wanted in expected.items():
        np.testing.assert_allclose(found[key], wanted, rtol=0, atol=1e-5 * np.max(np.abs(wanted)))


def test_a_random_start_is_not_adams():
    config, _ = ADAM["small_fc"]
    found = updates(config, fresh(replace(config, start="random")), GRADIENTS)
    assert distance(found["hidden"][0], -config.step_mult / 6 * 3 * np.sign(-GRADIENTS["hidden"][0])) > 0.3


@pytest.mark.parametrize("multipliers", [MUP, pytest.param(SP, marks=pytest.mark.slow)], ids=["mup", "sp"])
@pytest.mark.parametrize("config", [SMALL_FC, VELO], ids=lambda config: config.architecture)
def test_a_normalised_step_has_the_same_size_in_every_tensor(config, multipliers):
    theta, size = theta_of(config), 1.0
    if "lstm" in theta:
        size = 0.7
        constant = theta["lstm"].step_size._replace(w=0 * theta["lstm"].step_size.w, b=np.float32([size]))
        theta |= {"lstm": theta["lstm"]._replace(step_size=constant)}
    plain = updates(config, theta, GRADIENTS, multipliers)
    found = updates(replace(config, normalize_step=True), theta, GRADIENTS, multipliers)
    for key in SHAPES:
        for t in range(STEPS):
            step = size * config.step_mult * float(multipliers[key])
            # Beside the mean square of the direction stands 1e-9.
            np.testing.assert_allclose(found[key][t], step * plain[key][t] / rms(plain[key][t]), rtol=2e-3)
    assert max(abs(rms(plain[key][0]) / (config.step_mult * float(multipliers[key])) - size) for key in SHAPES) > 0.1
