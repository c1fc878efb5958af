"""Estimators of the meta-gradient from antithetic pairs: PES, NRES, ES-Single, full ES and truncated ES.

All are the mean over particles of ξ·(L⁺ − L⁻)/(2σ²), L the mean loss of a truncation, its steps weighed by
`recipe.end_weight`. They differ in ξ and in when
particles start. "Unbiased" is meant at a fixed θ, over whole unrolls, for the loss that ε smooths.

- `pes` (Vicol et al. 2021, arXiv 2112.13835): a fresh ε per truncation is added to ξ, the particle's sum since its
  unroll began. Unbiased; the variance grows with the number of truncations, slowly while they are few.
- `nres` (Li et al. 2023, arXiv 2304.12180): ξ is one ε, drawn at the start of an unroll and held to its end. Unbiased;
  the variance does not depend on how an unroll is cut. Particles are "step-unlocked": each has a length of its own,
  and the first unroll of each starts at an age that is uniform over its truncations. So one outer step averages
  over all parts of an unroll.
- `es_single` (Vicol et al. 2023, arXiv 2304.11153): the same ξ, so per particle the same gradient as NRES, found
  independently. It is full ES with breakpoints: all particles of a task start together and share one length. So one
  outer step sees one part of an unroll, the next step the next part, and only all steps of an unroll together are
  unbiased for its loss.
- `es`: as ES-Single without breakpoints: one gradient and one outer step per unroll, L its mean loss. Unbiased.
- `truncated_es`: a fresh ε per truncation, and ξ is the last ε alone. Biased: it does not see how earlier perturbations
  act later.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mulo import randomness
from mulo.config import RecipeConfig
from mulo.config.estimators import EstimatorTraits
from mulo.devices import SPLIT, WHOLE, LaidOut, gathered, particle_mesh, replicate, shared_out, split
from mulo.meta.batches import batched
from mulo.meta.particles import Particles, both, initial, perturbations, renewed, restarted, sides
from mulo.types import Array, LearnedOptimizer, Task, Theta
from mulo.unroll import Training, start, unroll


class Losses(NamedTuple):
    """Inner losses of one or more truncations, summed over steps; each [trainings]."""

    clipped: Array
    """Sum of the clipped losses."""
    above: Array
    """How many were at or above the clip or not finite."""
    non_finite: Array
    steps: Array
    weighed: Array | None = None
    """Sum of the clipped losses, each times its weight (`end_weights`); None: they all weigh the same."""


class Estimate(NamedTuple):
    """One task's contribution to an outer step: gradient, and shares of inner losses that were clipped."""

    gradient: Theta
    meta_loss: Array
    """Mean clipped inner loss over all particles, unweighed whatever `recipe.end_weight`."""
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
        mesh: the devices that particles are shared out among; None: all that the pairs divide into.
        data: lays the task's data out over these devices, for all tasks that share them; None: for this one alone.
    """

    def __init__(
        self,
        task: Task,
        optimizer: LearnedOptimizer,
        recipe: RecipeConfig,
        mesh: Mesh | None = None,
        data: LaidOut | None = None,
    ) -> None:
        self.task, self.optimizer, self.recipe = task, optimizer, recipe
        self.mesh = mesh or particle_mesh(recipe.pairs)
        self.data = data or LaidOut(self.mesh)
        started = jax.vmap(partial(start, task, optimizer), in_axes=(None, None, 0))
        self.start = jax.jit(shared_out(self.mesh, started, WHOLE, WHOLE, SPLIT))
        advance = shared_out(self.mesh, self._advance, SPLIT, SPLIT, SPLIT, SPLIT, WHOLE, SPLIT, WHOLE)
        self._compiled: Any = jax.jit(advance, donate_argnums=1)
        restart = shared_out(self.mesh, partial(restarted, task, optimizer), WHOLE, SPLIT, SPLIT)
        self._renewal: Any = _renewal(recipe)
        self._restart: Any = jax.jit(restart, donate_argnums=1)

    def initial(self, theta: Theta) -> Particles:
        """Particles before the first outer step."""
        return initial(self.task, self.optimizer, theta, self.recipe.pairs, self.mesh)

    def data_at(self, position: int) -> Any:
        """The task's data at a position, on every device."""
        return self.data(self.task, position)

    def advance(
        self, thetas: Theta, training: Training, lengths: Array, ages: Array, keys: Array, index: int, position: int = 0
    ) -> tuple[Training, Losses]:
        """One truncation, the `index`-th under these keys, of trainings that each have their own θ, length and key.

        `ages` are the inner steps that they have taken, by which their losses are weighed.

        All draw their minibatches from the data at `position`.
        """
        # Laid out the same at every call: another layout would be compiled anew.
        thetas, lengths, ages, keys = split(self.mesh, (thetas, lengths, ages, keys))
        data = self.data_at(position)
        return self._compiled(thetas, training, lengths, ages, data, keys, np.int32(index))

    def estimate(self, theta: Theta, particles: Particles, step: int, key: Array) -> tuple[Particles, Estimate]:
        """Advances all particles by a truncation (full ES: by a whole unroll) and estimates the gradient.

        Args:
            theta: unperturbed weights.
            particles: this task's; donated.
            step: outer step, from 0; also the position of the data.
            key: of this task and outer step.
        """
        particles = self._renew(theta, particles, step, key)
        thetas, xi, keys = self._perturb(theta, particles.xi, key)
        truncations = int(particles.length[0]) // self.recipe.truncation if self.recipe.traits.whole else 1
        lengths, training, losses = both(particles.length), particles.training, []
        for i in range(truncations):
            ages = both(particles.age + self.recipe.truncation * i)
            training, summed = self.advance(thetas, training, lengths, ages, keys, i, step)
            losses.append(summed)
        age = particles.age + self.recipe.truncation * truncations
        total = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *losses)
        return Particles(training, xi, age, particles.length), _weigh(
            xi, gathered(self.mesh, total), sigma=self.recipe.sigma
        )

    def _renew(self, theta: Theta, old: Particles, step: int, key: Array) -> Particles:
        renewal, *rest = self._renewal(old.xi, old.age, old.length, np.int32(step), key)
        return Particles(self._restart(replicate(self.mesh, theta), old.training, split(self.mesh, renewal)), *rest)

    def _perturb(self, theta: Theta, xi: Theta, key: Array) -> "_Perturbed":
        recipe = self.recipe
        return _perturb(theta, xi, key, recipe.sigma, recipe.pairs, recipe.traits)

    def _advance(
        self, thetas: Theta, training: Training, lengths: Array, ages: Array, data: Any, keys: Array, index: Array
    ) -> tuple[Training, Losses]:
        """The part of `advance` on one device, all trainings at once or batch by batch."""

        def truncation(training: Training, arguments: tuple[Theta, Array, Array, Array]) -> tuple[Training, Losses]:
            theta, length, age, key = arguments
            steps = jax.random.split(randomness.branch(key, index), self.recipe.truncation)
            training, losses = unroll(self.task, self.optimizer, theta, training, length, data, steps)
            return training, self._count(losses, age, length)

        unit = 2 if len(keys) % 2 == 0 else 1  # whole pairs; validations may have an odd number of trainings
        batch = unit * _batch(len(keys) // unit, self.recipe.particles_per_batch)
        return batched(jax.vmap(truncation), training, (thetas, lengths, ages, keys), batch)

    def _count(self, losses: Array, age: Array, length: Array) -> Losses:
        ceiling, power = self.recipe.loss_clip, self.recipe.end_weight
        clipped = clip_losses(losses, ceiling)
        non_finite = jnp.sum(~jnp.isfinite(losses), dtype=jnp.int32)
        above = jnp.sum(clipped >= ceiling, dtype=jnp.int32)
        weighed = jnp.sum(clipped * end_weights(power, age, length, losses.size)) if power else None
        return Losses(clipped.sum(), above, non_finite, jnp.int32(losses.size), weighed)


@cache
def _batch(pairs: int, most: int | None) -> int:
    """The largest divisor of the number of pairs that is at most `most`; None: all."""
    return next(n for n in range(min(pairs, most or pairs), 0, -1) if pairs % n == 0)


def _renewal(recipe: RecipeConfig) -> Any:
    """One program for all tasks: the draws do not depend on the task."""
    return jax.jit(partial(renewed, recipe))


class _Perturbed(NamedTuple):
    thetas: Theta
    """[2·pairs, …]"""
    xi: Theta
    """[pairs, …] what the loss differences are weighed by."""
    keys: Array
    """[2·pairs] keys of the minibatches, the same for both sides of a pair."""


@partial(jax.jit, static_argnames=("sigma", "pairs", "traits"))
def _perturb(theta: Theta, xi: Theta, key: Array, sigma: float, pairs: int, traits: EstimatorTraits) -> _Perturbed:
    epsilon = xi if traits.held else perturbations(theta, sigma, key, pairs)
    xi = jax.tree.map(jnp.add, xi, epsilon) if traits.summed else epsilon
    keys = randomness.each(randomness.branch(key, "data"), pairs)
    return _Perturbed(sides(theta, epsilon), xi, both(keys))


@partial(jax.jit, static_argnames="sigma")
def _weigh(xi: Theta, total: Losses, sigma: float) -> Estimate:
    mean = (total.clipped / total.steps.astype(jnp.float32)).reshape(-1, 2)
    judged = mean if total.weighed is None else (total.weighed / total.steps.astype(jnp.float32)).reshape(-1, 2)
    weights = (judged[:, 0] - judged[:, 1]) / (2 * sigma**2)
    above, non_finite = (_share(part, total.steps) for part in (total.above, total.non_finite))
    return Estimate(_ordered_mean(xi, weights), mean.mean(), above, non_finite)


def _share(part: Array, whole: Array) -> Array:
    return jnp.sum(part, dtype=jnp.int32) / jnp.sum(whole, dtype=jnp.int32)


def _ordered_mean(xi: Theta, weights: Array) -> Theta:
    """Mean over particles of ξ·weight, added up in the particles' order whatever the devices."""

    def add(total: Theta, particle: tuple[Array, Theta]) -> tuple[Theta, None]:
        weight, direction = particle
        return jax.tree.map(lambda t, d: t + weight * d, total, direction), None

    zero = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), xi)
    total, _ = jax.lax.scan(add, zero, (weights, xi))
    return jax.tree.map(lambda x: x / len(weights), total)


def end_weights(power: float, age: Array, length: Array, steps: int) -> Array:
    """[steps] weights (p+1)·(t/T)^p of the next inner steps t = age+1, age+2, … of an unroll of T = `length` steps.

    Their mean over an unroll is 1 + (p+1)/(2T) up to the order of 1/T².
    """
    step = age + 1 + jnp.arange(steps, dtype=jnp.int32)
    return (power + 1) * (jnp.float32(step) / jnp.float32(length)) ** power


def clip_losses(losses: Array, ceiling: float) -> Array:
    """Inner losses that are not finite or above `ceiling` count as `ceiling`.

    A diverged training thus scores badly but finitely, and cannot poison θ. Where both sides diverge, the
    difference is 0.
    """
    return jnp.where(jnp.isfinite(losses), jnp.minimum(losses, ceiling), ceiling)
