"""Tuning of a baseline: every combination of its settings trains a network, many of them in one program."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulo.evaluation.rollout import rollout
from mulo.types import Array, LearnedOptimizer, Task, Theta

Settings = dict[str, float]
"""One value of each setting that θ of a baseline holds."""


class Trial(NamedTuple):
    """One combination of settings, and what it came to."""

    settings: Settings
    loss: float
    """Mean over seeds of the training loss over fixed examples at the end; inf where any seed diverged."""


def combinations(grid: dict[str, list[float]]) -> list[Settings]:
    """Every value with every other one."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def theta_of(settings: Settings) -> Theta:
    """The baseline's θ that holds these settings."""
    return {name: jnp.float32(value) for name, value in settings.items()}


def best(trials: Sequence[Trial]) -> Trial:
    """The one with the lowest loss; of equals the first."""
    return min(trials, key=lambda trial: trial.loss)


def try_settings(
    task: Task,
    optimizer: LearnedOptimizer,
    settings: Sequence[Settings],
    *,
    num_steps: int,
    seeds: int,
    key: Array,
    on_progress: Callable[[int, float], None] = lambda done, loss: None,
) -> list[Trial]:
    """Trains `seeds` networks for `num_steps` steps under each of these settings, all in one program."""
    thetas = jax.tree.map(lambda *values: jnp.stack(values), *map(theta_of, settings))
    run = partial(rollout, task, optimizer, thetas, settings=len(settings))
    found = run(num_steps=num_steps, seeds=seeds, key=key, on_progress=on_progress)
    losses = found.train_loss.reshape(len(settings), seeds).mean(axis=1)
    losses = np.where(np.isfinite(losses), losses, np.inf)
    return [Trial(own, float(loss)) for own, loss in zip(settings, losses, strict=True)]
