"""The outer optimizer against its formulas."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import OuterConfig
from mulo.meta.outer import outer_optimizer, schedule

FAST = {"learning_rate": 0.5, "warmup_start": 0.1, "warmup_steps": 2, "final_learning_rate": 0.2, "decay_steps": 6}
"""Eight steps see warm-up, decay and what comes after."""
PAPER = {
    **{"learning_rate": 3e-3, "warmup_start": 3e-10, "warmup_steps": 100},
    **{"final_learning_rate": 1e-3, "decay_steps": 4900},
}


def rate(step, learning_rate, warmup_start, warmup_steps, final_learning_rate, decay_steps):
    if step < warmup_steps:
        return warmup_start + (learning_rate - warmup_start) * step / warmup_steps
    progress = min((step - warmup_steps) / (decay_steps - warmup_steps), 1)
    falling = (1 + math.cos(math.pi * progress)) / 2
    return final_learning_rate + (learning_rate - final_learning_rate) * falling


def test_formula_has_the_published_corners():
    assert [rate(s, **PAPER) for s in (0, 100, 2500, 4900)] == pytest.approx([3e-10, 3e-3, 2e-3, 1e-3])


@pytest.mark.parametrize("step", [0, 50, 99, 100, 101, 1300, 2500, 4899, 4900, 5000])
def test_the_papers_schedule(step):
    float32_step = 2.4e-10  # of numbers as large as the highest rate
    assert schedule(OuterConfig(**PAPER))(step) == pytest.approx(rate(step, **PAPER), rel=1e-5, abs=float32_step)


@pytest.mark.parametrize("change", [{}, *({k: v} for k, v in FAST.items())], ids=str)
def test_every_schedule_option_acts(change):
    settings = {**FAST, "warmup_steps": 3, "decay_steps": 7, "learning_rate": 0.6, "warmup_start": 0.05}
    settings = {**settings, "final_learning_rate": 0.1, **change}
    rates = [float(schedule(OuterConfig(**settings))(step)) for step in range(9)]
    assert rates == pytest.approx([rate(step, **settings) for step in range(9)], rel=1e-5)


def test_no_warmup():
    settings = {**FAST, "warmup_steps": 0}
    rates = [float(schedule(OuterConfig(**settings))(step)) for step in range(9)]
    assert rates == pytest.approx([rate(step, **settings) for step in range(9)], rel=1e-5)


def clipped(x, bound):
    return x * min(1, bound / np.linalg.norm(x))


def adamw_by_hand(theta, gradients, clip, clip_norm, weight_decay):
    """θ after each step, float64."""
    first, second, seen = np.zeros(3), np.zeros(3), []
    for t, gradient in enumerate(gradients):
        gradient = clipped(gradient, clip_norm) if clip == "gradient" else gradient
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        adam = (first / (1 - 0.9 ** (t + 1))) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        update = -rate(t, **FAST) * (adam + weight_decay * theta)
        theta = theta + (clipped(update, clip_norm) if clip == "update" else update)
        seen.append(theta)
    return np.array(seen)


START = np.array([0.5, -2.0, 1.0])
GRADIENTS = np.random.default_rng(0).normal(size=(8, 3)) * np.array([0.01, 30, 0.1, 1, 5, 0.5, 80, 0.2])[:, None]


def by_mulo(gradients=GRADIENTS, **changes):
    optimizer = outer_optimizer(OuterConfig(**{**FAST, **changes}))
    theta, seen = jnp.float32(START), []
    state = optimizer.init(theta)
    for gradient in gradients:
        update, state = optimizer.update(jnp.float32(gradient), state, theta)
        theta = theta + update
        seen.append(np.asarray(theta))
    return np.array(seen)


@pytest.mark.parametrize("clip_norm", [0.3, 0.6])
@pytest.mark.parametrize("clip", ["none", "gradient", "update"])
def test_adamw_with_its_clip(clip, clip_norm):
    expected = adamw_by_hand(START, GRADIENTS, clip, clip_norm, weight_decay=0.05)
    thetas = by_mulo(clip=clip, clip_norm=clip_norm, weight_decay=0.05)
    np.testing.assert_allclose(thetas, expected, rtol=1e-4, atol=1e-5)


def test_update_clip_bounds_the_step():
    steps = np.linalg.norm(np.diff(by_mulo(clip="update", clip_norm=0.3), axis=0), axis=1)
    free = np.linalg.norm(np.diff(by_mulo(clip="none"), axis=0), axis=1)
    assert steps.max() <= 0.3 * (1 + 1e-5)
    assert free.max() > 0.3


def test_weight_decay_alone_shrinks_theta():
    rates = np.array([rate(step, **FAST) for step in range(8)])
    expected = START * np.cumprod(1 - rates * 0.1)[:, None]
    np.testing.assert_allclose(by_mulo(np.zeros((8, 3)), weight_decay=0.1), expected, rtol=1e-5)
    np.testing.assert_array_equal(by_mulo(np.zeros((8, 3)), weight_decay=0.0)[-1], np.float32(START))
