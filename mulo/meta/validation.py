"""Validation of a θ: whole trainings under it on held-out seeds, and one number by which candidates are compared."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mulo import randomness
from mulo.config import RecipeConfig, ValidationConfig
from mulo.devices import SPLIT, WHOLE, LaidOut, gathered, particle_mesh, replicate, shared_out, split
from mulo.meta.estimators import Estimator, Losses, clip_losses
from mulo.meta.particles import to_truncations
from mulo.types import Array, LearnedOptimizer, Task, Theta
from mulo.unroll import Training

Metrics = dict[str, float]
_LEAST = 1e-30
"""A loss below this counts as this where its logarithm is taken."""


class Validation:
    """Compares θ on the same seeds and data at every call; its seeds are never used in meta-training.

    Data that move on do so from position 0, once per truncation.

    Args:
        estimators: of meta-training; their compiled programs are used where validations have the same networks.
        tasks: networks of validations; None: those of meta-training.
        optimizer: the learned optimizer.
        recipe: of meta-training.
        key: root of all randomness.
    """

    def __init__(
        self,
        estimators: Sequence[Estimator],
        tasks: Sequence[Task] | None,
        optimizer: LearnedOptimizer,
        recipe: RecipeConfig,
        key: Array,
    ) -> None:
        self.recipe, self.key, self.settings = recipe, key, recipe.validation
        self.trainings = recipe.validation_trainings
        self.estimators = list(estimators)
        if tasks is not None or self.trainings != 2 * recipe.pairs:
            own = [estimator.task for estimator in estimators] if tasks is None else tasks
            mesh = particle_mesh(self.trainings, key="recipe.validation.seeds")
            data = estimators[0].data if mesh == estimators[0].mesh else LaidOut(mesh)
            unweighed = replace(recipe, end_weight=0.0)
            self.estimators = [Estimator(task, optimizer, unweighed, mesh, data) for task in own]
        self._first = [jax.jit(_first_losses(estimator)) for estimator in self.estimators]

    def __call__(self, theta: Theta) -> Metrics:
        """`validation_loss`, and that of each network."""
        losses = [self.loss(index, theta) for index in range(len(self.estimators))]
        names = [f"validation_loss/{estimator.task.name}" for estimator in self.estimators]
        return {"validation_loss": overall(losses, self.settings), **dict(zip(names, losses, strict=True))}

    def loss(self, index: int, theta: Theta) -> float:
        """Of the `index`-th network."""
        estimator = self.estimators[index]
        key = randomness.branch(self.key, "validation", estimator.task.name)
        training = self._start(estimator, theta, key)
        keys = randomness.each(randomness.branch(key, "data"), self.trainings)
        first = self._first_losses(index, training, keys) if self.settings.stable else None
        truncations = self._unroll(estimator, theta, training, keys)
        share = max(1, round(self.settings.final_share * len(truncations)))
        if first is None:
            total: Any = 0.0
            for losses in truncations[-share:]:
                total += losses.clipped.mean()
            return float(total) / (share * self.recipe.truncation)
        return _bounded(first, truncations, truncations[-share:])

    def _start(self, estimator: Estimator, theta: Theta, key: Array) -> Training:
        seeds = randomness.each(randomness.branch(key, "init"), self.trainings)
        theta = replicate(estimator.mesh, theta)
        return estimator.start(theta, np.int32(num_steps(self.recipe)), split(estimator.mesh, seeds))

    def _unroll(self, estimator: Estimator, theta: Theta, training: Training, keys: Array) -> list[Losses]:
        """Losses of all trainings [trainings], one entry per truncation."""
        recipe, count, length = self.recipe, self.trainings, num_steps(self.recipe)
        thetas = jax.tree.map(lambda x: np.broadcast_to(x, (count, *np.shape(x))), theta)
        lengths, seen = jnp.full(count, length, jnp.int32), []
        for i in range(length // recipe.truncation):
            ages = jnp.full(count, i * recipe.truncation, jnp.int32)
            training, losses = estimator.advance(thetas, training, lengths, ages, keys, i, i)
            seen.append(gathered(estimator.mesh, losses))
        return seen

    def _first_losses(self, index: int, training: Training, keys: Array) -> Array:
        """Clipped losses [trainings] of the first minibatch, before any step."""
        estimator = self.estimators[index]
        data = estimator.data_at(0)
        losses = gathered(estimator.mesh, self._first[index](training, data, split(estimator.mesh, keys)))
        return clip_losses(losses, self.recipe.loss_clip)


def num_steps(recipe: RecipeConfig) -> int:
    """Inner steps of every training in a validation, whole truncations."""
    return int(to_truncations(jnp.float32(recipe.validation_steps), recipe.truncation))


def overall(losses: Sequence[float], settings: ValidationConfig) -> float:
    """One number for several networks: their mean, or their geometric mean, in which ratios count."""
    if not settings.stable:
        return float(np.mean(losses))
    return float(np.exp(np.mean(np.log(np.maximum(losses, _LEAST)))))


def _bounded(first: Array, whole: Sequence[Losses], judged: Sequence[Losses]) -> float:
    """Mean over trainings of the mean loss of the truncations `judged`.

    It is the first loss of those that end above it, or meet a loss in the whole training that is not finite.
    """
    final = sum(losses.clipped for losses in judged) / sum(losses.steps for losses in judged)
    finite = sum(losses.non_finite for losses in whole) == 0
    return float(jnp.where(finite, jnp.minimum(final, first), first).mean())


def _first_losses(estimator: Estimator) -> Any:
    """From trainings, data and keys of the trainings to losses [trainings]; laid out as trainings are."""
    task, steps = estimator.task, estimator.recipe.truncation

    def loss(training: Training, data: Any, key: Array) -> Array:
        minibatch = jax.random.split(randomness.branch(key, 0), steps)[0]
        return task.loss(training.params, task.sample(data, minibatch), training.drawn)

    return shared_out(estimator.mesh, jax.vmap(loss, in_axes=(0, None, 0)), SPLIT, WHOLE, SPLIT)
