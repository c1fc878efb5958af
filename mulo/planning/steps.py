"""One inner step of one optimizee as the parts that a processor's speeds apply to, and how many of them a job takes."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax

from mulo.config import RecipeConfig
from mulo.cost import Cost
from mulo.optimizers import Optimizer
from mulo.planning.programs import matrix_products, size_of
from mulo.types import Task


class InnerStep(NamedTuple):
    """Of one optimizee under one optimizer."""

    parameters: int
    gradient: Cost
    """Matrix products, forward and backward."""
    update: Cost
    """The optimizer's."""
    sampling: Cost
    """Of writing the minibatch; the random numbers of synthetic data are not counted."""

    @property
    def total(self) -> Cost:
        """All parts together."""
        return self.gradient + self.update + self.sampling


def inner_step(task: Task, optimizer: Optimizer) -> InnerStep:
    """Counted from shapes alone."""
    params, batch = shapes(task)
    leaves = jax.tree.leaves(params)
    return InnerStep(
        sum(math.prod(x.shape) for x in leaves),
        matrix_products(jax.grad(task.loss), params, batch),
        optimizer.cost([x.shape for x in leaves]),
        Cost(0, size_of(batch)),
    )


def shapes(task: Task) -> tuple[Any, Any]:
    """Parameters and a minibatch as abstract arrays."""
    key = jax.eval_shape(partial(jax.random.key, 0))
    return jax.eval_shape(task.init, key), jax.eval_shape(task.sample, task.data, key)


def truncations_per_outer_step(recipe: RecipeConfig) -> float:
    """1, but where an outer step is a whole unroll (full ES): the mean of its length."""
    if not recipe.traits.whole:
        return 1
    low, growing = recipe.min_length, round(recipe.length_curriculum * recipe.outer_steps)
    longest = [low * (recipe.max_length / low) ** (step / growing) for step in range(growing)]
    means = sum(_mean_length(recipe, high) for high in longest)
    whole = means + (recipe.outer_steps - growing) * _mean_length(recipe, recipe.max_length)
    return whole / recipe.outer_steps / recipe.truncation


def _mean_length(recipe: RecipeConfig, high: float) -> float:
    """Of lengths between the shortest and `high`."""
    low = recipe.min_length
    if high <= low:
        return low
    return (high - low) / math.log(high / low) if recipe.lengths == "log_uniform" else (low + high) / 2


def per_outer_step(recipe: RecipeConfig) -> float:
    """Inner steps of all trainings of one width."""
    return 2 * recipe.pairs * recipe.truncation * truncations_per_outer_step(recipe)


def validation(recipe: RecipeConfig) -> int:
    """Inner steps of all validations of one width: one before meta-training, every `validate_every`, one at its end."""
    if not recipe.outer_steps:
        return 0
    times = 1 + math.ceil(recipe.outer_steps / recipe.validate_every)
    unroll = recipe.truncation * max(1, round(recipe.validation_steps / recipe.truncation))
    return recipe.validation_trainings * unroll * times
