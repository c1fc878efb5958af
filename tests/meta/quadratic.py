"""A noisy quadratic and a momentum optimizer of three weights: their expected losses, and so the meta-gradient, are known.

Loss and update are linear in (weights, trace), so second moments propagate exactly from step to step.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

MEAN, SPREAD = 1.0, 0.3
"""Initial parameters: normal."""


@dataclass(frozen=True)
class Quadratic:
    """½·Σ h·w², plus a linear term of mean zero that every minibatch draws anew."""

    name: str = "quadratic"
    curvature: tuple[float, ...] = (4.0, 0.3)
    noise: float = 0.5
    multiplier: float = 0.5

    @property
    def data(self):
        return {"noise": jnp.float32(self.noise)}

    @property
    def multipliers(self):
        return {"w": self.multiplier}

    def init(self, key):
        return {"w": MEAN + SPREAD * jax.random.normal(key, (len(self.curvature),))}

    def sample(self, data, key):
        return data["noise"] * jax.random.normal(key, (len(self.curvature),)), jnp.int32(0)

    def loss(self, params, batch):
        return jnp.sum(0.5 * jnp.array(self.curvature) * params["w"] ** 2 + batch[0] * params["w"])

    def full_loss(self, params, data, split):
        return self.loss(params, (0.0, 0))


class Momentum(NamedTuple):
    """State of `MomentumOptimizer`."""

    count: jax.Array
    trace: jax.Array


class MomentumOptimizer:
    """SGD with momentum; θ is a log learning rate per coordinate and the momentum's logit.

    The learning rate falls linearly to half at the end, so that the unroll's length matters.
    """

    def init(self, key):
        return {"log_rate": jnp.full(2, -2.0) + 0.1 * jax.random.normal(key, (2,)), "momentum": jnp.float32(0)}

    def transform(self, theta, num_steps, multipliers):
        def init(params):
            return Momentum(jnp.int32(0), jnp.zeros_like(params["w"]))

        def update(gradients, state, params=None, **extra):
            rate = multipliers["w"] * learning_rate(theta, state.count, num_steps)
            trace = jax.nn.sigmoid(theta["momentum"]) * state.trace + gradients["w"]
            return {"w": -rate * trace}, Momentum(state.count + 1, trace)

        return optax.GradientTransformationExtraArgs(init, update)


def learning_rate(theta, count, num_steps):
    return jnp.exp(theta["log_rate"]) * (1 - 0.5 * count / num_steps)


class DeafOptimizer(MomentumOptimizer):
    """The same at one fixed θ, whatever θ it is given."""

    def transform(self, theta, num_steps, multipliers):
        fixed = {"log_rate": jnp.array([-2.0, -2.0]), "momentum": jnp.float32(0)}
        return super().transform(fixed, num_steps, multipliers)


THETA = {"log_rate": jnp.array([-1.5, -1.0]), "momentum": jnp.float32(0.2)}
"""Learns, but not as fast as it could."""


def expected_losses(task, thetas, length):
    """Expected losses at each step, [length], when step t is taken under the t-th of `thetas`."""
    curvature = jnp.array(task.curvature)
    noise = jnp.array([[1, -1], [-1, 1]]) * task.noise**2

    def step(moments, inputs):
        count, theta = inputs
        rate = task.multiplier * learning_rate(theta, count, length)
        beta, one = jax.nn.sigmoid(theta["momentum"]), jnp.ones_like(rate)
        matrix = jnp.array([[1 - rate * curvature, -rate * beta], [curvature, beta * one]])
        noisy = jnp.array([[rate, one], [one, one]]) * jnp.array([rate, one])[:, None] * 0
        noisy = jnp.array([[rate**2, -rate], [-rate, one]]) * task.noise**2
        moved = jnp.einsum("abn,bcn,dcn->adn", matrix, moments, matrix) + noisy
        return moved, 0.5 * jnp.sum(curvature * moments[0, 0])

    start = jnp.zeros((2, 2, len(curvature))).at[0, 0].set(MEAN**2 + SPREAD**2)
    return jax.lax.scan(step, start, (jnp.arange(length), thetas))[1]
