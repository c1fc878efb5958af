"""Estimators of the meta-gradient from antithetic pairs: PES, full ES and truncated ES.

- `pes` (Vicol et al. 2021, arXiv 2112.13835): a fresh ε per truncation is added to ξ, the particle's sum since its
  unroll began; gradient = mean over particles of ξ·(L⁺ − L⁻)/(2σ²), L the mean loss of the truncation. Unbiased.
- `es`: one ε for a whole unroll, one gradient at its end. Unbiased, one outer step per unroll.
- `truncated_es`: as PES, but weighed by the last ε alone. Biased: it does not see how earlier perturbations act later.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mulo import randomness
from mulo.config import RecipeConfig
from mulo.meta.particles import Particles, both, initial, perturbations, renew, sides
from mulo.meta.unroll import Training, clip_losses, unroll
from mulo.types import Array, LearnedOptimizer, Task, Theta


class Losses(NamedTuple):
    """Inner losses of one or more truncations, summed over steps; each [trainings]."""

    clipped: Array
    """Sum of the clipped losses."""
    above: Array
    """How many were at or above the clip or not finite."""
    non_finite: Array
    steps: Array

    def __add__(self, other: tuple[Any, ...]) -> "Losses":
        return Losses(*(a + b for a, b in zip(self, other, strict=True)))


class Estimate(NamedTuple):
    """One task's contribution to an outer step: gradient, and shares of inner losses that were clipped."""

    gradient: Theta
    meta_loss: Array
    """Mean clipped inner loss over all particles."""
    clipped: Array
    """Share of inner losses at or above the clip, the not finite ones included."""
    non_finite: Array
    """Share of inner losses that are not finite."""


class Estimator:
    """Meta-gradients of one task; its compiled programs are made once and serve every outer step.

    Args:
        task: the optimizee with its data.
        optimizer: the learned optimizer under meta-training.
        recipe: estimator, truncation, σ, pairs and lengths.
    """

    def __init__(self, task: Task, optimizer: LearnedOptimizer, recipe: RecipeConfig) -> None:
        self.task, self.optimizer, self.recipe = task, optimizer, recipe
        self.advance = jax.jit(self._advance, donate_argnums=1)
        self._begin = jax.jit(self._renew_and_perturb, donate_argnums=1)
        self._finish = jax.jit(self._weigh)

    def initial(self, theta: Theta) -> Particles:
        """Particles before the first outer step."""
        return initial(self.task, self.optimizer, theta, self.recipe.pairs)

    def estimate(self, theta: Theta, particles: Particles, step: int, key: Array) -> tuple[Particles, Estimate]:
        """Advances all particles by a truncation (full ES: by a whole unroll) and estimates the gradient.

        Args:
            theta: unperturbed weights.
            particles: this task's; donated.
            step: outer step, from 0.
            key: of this task and outer step.
        """
        particles, thetas = self._begin(theta, particles, step, key)
        lengths, truncation = both(particles.length), self.recipe.truncation
        truncations = int(particles.length[0]) // truncation if self.recipe.estimator == "es" else 1
        training, total = particles.training, None
        for i in range(truncations):
            keys = both(randomness.each(randomness.branch(key, "data", i), self.recipe.pairs))
            training, losses = self.advance(thetas, training, lengths, self.task.data, keys)
            total = losses if total is None else total + losses
        aged = particles._replace(training=training, age=particles.age + truncation * truncations)
        return aged, self._finish(particles.xi, total)

    def _advance(
        self, thetas: Theta, training: Training, lengths: Array, data: Any, keys: Array
    ) -> tuple[Training, Losses]:
        """One truncation of every training, each with its own θ, length and key; leading axis [trainings]."""

        def one(theta: Theta, training: Training, length: Array, key: Array) -> tuple[Training, Losses]:
            steps = jax.random.split(key, self.recipe.truncation)
            training, losses = unroll(self.task, self.optimizer, theta, training, length, data, steps)
            return training, self._count(losses)

        return jax.vmap(one)(thetas, training, lengths, keys)

    def _count(self, losses: Array) -> Losses:
        ceiling = self.recipe.loss_clip
        clipped = clip_losses(losses, ceiling)
        non_finite = jnp.sum(~jnp.isfinite(losses))
        return Losses(clipped.sum(), jnp.sum(clipped >= ceiling), non_finite, jnp.int32(losses.size))

    def _renew_and_perturb(
        self, theta: Theta, particles: Particles, step: Array, key: Array
    ) -> tuple[Particles, Theta]:
        particles = renew(self.task, self.optimizer, self.recipe, theta, particles, step, key)
        noise_key = randomness.branch(key, "perturbation")
        epsilon = perturbations(theta, self.recipe.sigma, noise_key, self.recipe.pairs)
        xi = jax.tree.map(jnp.add, particles.xi, epsilon) if self.recipe.estimator == "pes" else epsilon
        return particles._replace(xi=xi), sides(theta, epsilon)

    def _weigh(self, xi: Theta, total: Losses) -> Estimate:
        mean = (total.clipped / total.steps).reshape(2, -1)
        weights = (mean[0] - mean[1]) / (2 * self.recipe.sigma**2)
        steps = total.steps.sum()
        return Estimate(_ordered_mean(xi, weights), mean.mean(), total.above.sum() / steps, total.non_finite.sum() / steps)


def _ordered_mean(xi: Theta, weights: Array) -> Theta:
    """Mean over particles of ξ·weight, added up in the particles' order whatever the devices."""

    def add(total: Theta, particle: tuple[Array, Theta]) -> tuple[Theta, None]:
        weight, direction = particle
        return jax.tree.map(lambda t, d: t + weight * d, total, direction), None

    zero = jax.tree.map(lambda x: jnp.zeros(x.shape[1:]), xi)
    total, _ = jax.lax.scan(add, zero, (weights, xi))
    return jax.tree.map(lambda x: x / len(weights), total)
