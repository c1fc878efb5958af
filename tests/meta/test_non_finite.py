"""Inner losses that are not finite or too large: counted by hand."""

from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.meta.estimators import Estimator, clip_losses

from .quadratic import history, recipe

STEPS, CLIP, SIGMA, PAIRS = 4, 8.0, 0.01, 8


class Cliff:
    """Loss 1 for w ≤ 0 and `fall` beyond; if `both`, on both sides of 0. w starts at 0."""

    name, multipliers = "cliff", MappingProxyType({"w": 1.0})

    def __init__(self):
        self.data = None

    def data_at(self, position):
        return self.data

    def draw(self, key):
        return ()

    def init(self, key):
        return {"w": jnp.float32(0)}

    def sample(self, data, key):
        return data, jnp.int32(0)

    def loss(self, params, batch, drawn=()):
        fall, both = batch[0]
        beyond = (params["w"] > 0) | (both & (params["w"] < 0))
        return jnp.where(beyond, fall, 1.0)

    def full_loss(self, params, data, split, drawn=()):
        return self.loss(params, None)


class Drift:
    """Adds θ to w at every step: from the second step on, exactly the side whose θ is positive has fallen."""

    def init(self, key):
        return {"drift": jnp.float32(0)}

    def transform(self, theta, num_steps, multipliers):
        def update(gradients, state, params=None, **extra):
            return {"w": theta["drift"] + 0 * gradients["w"]}, state

        return optax.GradientTransformationExtraArgs(lambda params: (), update)


ESTIMATOR = Estimator(
    Cliff(), Drift(), recipe(truncation=STEPS, start_offset=0, sigma=SIGMA, pairs=PAIRS, loss_clip=CLIP)
)


def first_truncation(fall, both=False):
    ESTIMATOR.task.data = jnp.float32(fall), jnp.bool(both)
    return history(ESTIMATOR, 1, {"drift": jnp.float32(0)})[0]


FALLS = [np.nan, np.inf, -np.inf, 1e30, 8.5]


@pytest.mark.parametrize("fall", FALLS)
def test_a_fallen_side_counts_as_the_clip(fall):
    """Each pair has one side at (1, 8, 8, 8) and one at (1, 1, 1, 1)."""
    particles, estimate = first_truncation(fall)
    difference = 3 * (CLIP - 1) / STEPS
    assert estimate.meta_loss == pytest.approx((5 * 1 + 3 * CLIP) / 8)
    assert estimate.gradient["drift"] == pytest.approx(
        np.abs(particles.xi["drift"]).mean() * difference / (2 * SIGMA**2), rel=1e-5
    )


@pytest.mark.parametrize("fall", FALLS)
def test_shares_are_counted_over_all_losses(fall):
    _, estimate = first_truncation(fall)
    assert estimate.clipped == pytest.approx(3 / 8)
    assert estimate.non_finite == pytest.approx(0 if np.isfinite(fall) else 3 / 8)


def test_losses_below_the_clip_are_left_alone():
    _, estimate = first_truncation(7.5)
    assert estimate.meta_loss == pytest.approx((5 * 1 + 3 * 7.5) / 8)
    assert estimate.clipped == 0


def test_two_fallen_sides_say_nothing():
    _, estimate = first_truncation(np.nan, both=True)
    assert estimate.gradient["drift"] == 0
    assert estimate.non_finite == pytest.approx(6 / 8)


def test_the_clip_itself_counts_as_clipped():
    _, estimate = first_truncation(CLIP)
    assert estimate.clipped == pytest.approx(3 / 8)
    assert estimate.non_finite == 0


def test_rule():
    losses = jnp.array([np.nan, np.inf, -np.inf, 11.0, 10.0, 3.0, -7.0])
    assert jax.device_get(clip_losses(losses, 10.0)).tolist() == [10, 10, 10, 10, 10, 3, -7]
