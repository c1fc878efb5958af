"""Tuning of an optimizer: every combination of its settings trains a network, many of them in one program."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mulo.evaluation.rollout import rollout
from mulo.types import Array, LearnedOptimizer, Task, Theta

Settings = dict[str, float]
"""One value of each setting that is tried."""


def combinations(grid: dict[str, list[float]]) -> list[Settings]:
    """All combinations of values."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def baseline_theta(settings: Settings) -> Theta:
    """The baseline's θ that holds these settings."""
    return {name: jnp.float32(value) for name, value in settings.items()}


def as_text(settings: Settings) -> dict[str, str]:
    """As columns of a table of results hold settings; `float` gives the same numbers back."""
    return {name: repr(float(value)) for name, value in settings.items()}


def best(trials: pd.DataFrame, names: Sequence[str]) -> tuple[Settings, float]:
    """The settings with the lowest mean loss over seeds, of equals the first; inf where any seed diverged."""
    losses = trials.assign(loss=trials.loss.where(np.isfinite(trials.loss), np.inf))
    means = losses.groupby(list(names), sort=False, as_index=False).loss.mean()
    chosen = means.iloc[int(means.loss.to_numpy().argmin())]
    return {name: float(chosen[name]) for name in names}, float(chosen.loss)


def try_settings(
    task: Task,
    optimizer: LearnedOptimizer,
    settings: Sequence[Settings],
    *,
    num_steps: int,
    seeds: int,
    key: Array,
    theta_of: Callable[[Settings], Theta] = baseline_theta,
    on_progress: Callable[[int, float], None] = lambda done, loss: None,
) -> pd.DataFrame:
    """Trains `seeds` networks for `num_steps` steps under each of these settings, all in one program.

    `theta_of` gives the optimizer's θ that holds settings.

    Returns:
        A row per training: its settings as text, seed, split (`train`), loss over fixed examples at the end, status.
    """
    thetas = jax.tree.map(lambda *values: jnp.stack(values), *map(theta_of, settings))
    run = partial(rollout, task, optimizer, thetas, settings=len(settings))
    rows = run(num_steps=num_steps, seeds=seeds, key=key, on_progress=on_progress).rows()
    rows = rows[rows.split == "train"].reset_index(drop=True)
    texts = pd.DataFrame(map(as_text, settings)).loc[rows.seed // seeds].reset_index(drop=True)
    return pd.concat([texts, rows.assign(seed=rows.seed % seeds)], axis=1)
