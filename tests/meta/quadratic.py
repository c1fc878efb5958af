"""A noisy quadratic and a momentum optimizer of three weights: their expected losses, so the meta-gradient, are known.

Gradient and update are linear in (weights, trace), so second moments propagate exactly from step to step.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mulo.config import RecipeConfig
from mulo.meta.estimators import Estimator

MEAN = 1.0
"""Of the initial parameters."""
THETA = {"log_rate": jnp.array([-1.5, -1.0]), "momentum": jnp.float32(0.2)}
"""Learns, but not as fast as it could."""


def unit_noise(key, count):
    """Uniform, of mean 0 and variance 1; it compiles faster than normal noise."""
    return jax.random.uniform(key, (count,), minval=-(3**0.5), maxval=3**0.5)


@dataclass(frozen=True)
class Quadratic:
    """½·Σ h·w², plus a linear term of mean zero that every minibatch draws anew."""

    name: str = "quadratic"
    curvature: tuple[float, ...] = (4.0, 0.3)
    noise: float = 0.4
    spread: float = 0.3
    """Standard deviation of the initial parameters."""

    @property
    def data(self):
        return {"noise": jnp.float32(self.noise)}

    def data_at(self, position):
        return self.data

    @property
    def multipliers(self):
        return {"w": 0.5}

    def init(self, key):
        return {"w": MEAN + self.spread * unit_noise(key, len(self.curvature))}

    def draw(self, key):
        return ()

    def sample(self, data, key):
        return data["noise"] * unit_noise(key, len(self.curvature)), jnp.int32(0)

    def loss(self, params, batch, drawn=()):
        return jnp.sum(0.5 * jnp.array(self.curvature) * params["w"] ** 2 + batch[0] * params["w"])

    def full_loss(self, params, data, split, drawn=()):
        return self.loss(params, (0.0, 0))


class Momentum(NamedTuple):
    """State of `MomentumOptimizer`."""

    count: jax.Array
    trace: jax.Array


@dataclass(frozen=True)
class MomentumOptimizer:
    """SGD whose θ is a log learning rate per coordinate and the momentum's logit.

    The learning rate falls linearly to half, so that an unroll's length matters.
    """

    deaf: bool = False
    """Learns at `THETA`, whatever θ it is given."""

    def evaluation_params(self, state, params):
        return params

    def init(self, key):
        log_rate = -3.0 + 0.1 * jax.random.normal(key, (2,))
        return {"log_rate": log_rate, "momentum": jnp.float32(0)}

    def transform(self, theta, num_steps, multipliers):
        theta = THETA if self.deaf else theta

        def init(params):
            return Momentum(jnp.int32(0), jnp.zeros_like(params["w"]))

        def update(gradients, state, params=None, **extra):
            decay = 1 - 0.5 * state.count / num_steps
            rate = multipliers["w"] * decay * jnp.exp(theta["log_rate"])
            trace = jax.nn.sigmoid(theta["momentum"]) * state.trace + gradients["w"]
            return {"w": -rate * trace}, Momentum(state.count + 1, trace)

        return optax.GradientTransformationExtraArgs(init, update)


def expected_losses(task, thetas, length):
    """Expected loss at each step, [..., length], when step t is taken under the t-th of `thetas` [..., length, 3].

    Written with numpy in float64. The moments are E[w²], E[w·trace] and E[trace²] of each coordinate.
    """
    h, n, ww, wm, mm = np.array(task.curvature), task.noise**2, MEAN**2 + task.spread**2, 0.0, 0.0
    losses = []
    for t in range(length):
        losses.append(np.sum(0.5 * h * ww * np.ones_like(thetas[..., t, :2]), axis=-1))
        r = task.multipliers["w"] * np.exp(thetas[..., t, :2]) * (1 - 0.5 * t / length)
        b = 1 / (1 + np.exp(-thetas[..., t, 2:]))
        a = 1 - r * h
        ww, wm, mm = (
            a**2 * ww - 2 * a * r * b * wm + (r * b) ** 2 * mm + r**2 * n,
            a * h * ww + (a - r * h) * b * wm - r * b**2 * mm - r * n,
            h**2 * ww + 2 * h * b * wm + b**2 * mm + n,
        )
    return np.stack(losses, axis=-1)


def flat(theta):
    """[..., 3] from θ's leaves, which share their leading axes."""
    return np.concatenate([theta["log_rate"], np.asarray(theta["momentum"])[..., None]], axis=-1)


def recipe(**changes):
    """Unrolls of 4 truncations of 5 steps, unless told otherwise."""
    small = {"truncation": 5, "min_length": 20, "max_length": 20, "start_offset": 20, "pairs": 4, "sigma": 0.01}
    return RecipeConfig(**{**small, **changes})


@cache
def estimator(task=None, optimizer=None, **changes):
    """One per kind of problem: each compiles anew."""
    return Estimator(task or Quadratic(), optimizer or MomentumOptimizer(), recipe(**changes))


def key_of(step):
    return jax.random.fold_in(jax.random.key(5), step)


def history(estimator, steps, theta=THETA):
    """(particles, estimate) after each of `steps` calls at the same θ, as numpy arrays, and their keys."""
    particles, seen = estimator.initial(theta), []
    for step in range(steps):
        particles, estimate = estimator.estimate(theta, particles, step, key_of(step))
        seen.append(jax.tree.map(np.array, (particles, estimate)))
    return seen
