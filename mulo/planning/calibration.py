"""A few measured seconds on the devices at hand: how long an inner step really takes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulo import randomness
from mulo.config import RecipeConfig
from mulo.devices import particle_mesh, split
from mulo.meta.estimators import Estimator
from mulo.meta.trainer import Trainer
from mulo.optimizers import Optimizer
from mulo.planning.steps import InnerStep, inner_step, per_outer_step
from mulo.types import Task
from mulo.unroll import start

PROBE_STEPS = 2
"""Inner steps per call where a single pair is measured."""
ASSUMED_FLOPS = {"cpu": 2e10}
"""Per second, by platform; decides only whether whole outer steps are few enough seconds to be measured."""
ELSEWHERE = 2e12


class Measured(NamedTuple):
    """Seconds of one inner step of one training, by task; `how` says in words what was run."""

    by_task: dict[str, float]
    how: str


def measure(tasks: Sequence[Task], config: Optimizer, recipe: RecipeConfig, seconds: float, whole: bool) -> Measured:
    """Whole outer steps, if `whole` allows it and they fit into about `seconds`; else single pairs, width by width."""
    steps = [inner_step(task, config) for task in tasks]
    work = sum(step.total.flops for step in steps) * per_outer_step(recipe)
    rate = ASSUMED_FLOPS.get(jax.default_backend(), ELSEWHERE) * jax.local_device_count()
    if whole and config.learned and not recipe.traits.whole and work / rate < seconds / 2:
        return _outer_steps(tasks, config, recipe, steps, seconds)
    return _pairs(tasks, config, recipe, seconds)


def _outer_steps(
    tasks: Sequence[Task], config: Optimizer, recipe: RecipeConfig, steps: Sequence[InnerStep], seconds: float
) -> Measured:
    trainer = Trainer(tasks, config, recipe, 0)
    state = trainer.initial()

    def outer_step() -> None:
        nonlocal state
        state, _ = trainer.step(state)

    times = _timed(outer_step, seconds)
    whole = median(times)
    # Shared out among the tasks by their arithmetic: they run side by side.
    total = sum(step.total.flops for step in steps)
    per_flop = whole / (total * per_outer_step(recipe))
    by_task = {task.name: per_flop * step.total.flops for task, step in zip(tasks, steps, strict=True)}
    return Measured(by_task, f"Measured: {len(times)} whole outer steps.")


def _pairs(tasks: Sequence[Task], config: Optimizer, recipe: RecipeConfig, seconds: float) -> Measured:
    devices = particle_mesh(recipe.pairs).size
    by_task = {task.name: _pair(task, config, recipe, seconds / len(tasks)) / devices for task in tasks}
    how = (
        f"Measured: {PROBE_STEPS} inner steps of one pair for each of {', '.join(by_task)}. "
        f"Extrapolated: to all pairs and steps, in proportion, shared out among {devices} device(s)."
    )
    return Measured(by_task, how)


def _pair(task: Task, config: Optimizer, recipe: RecipeConfig, seconds: float) -> float:
    """Seconds per inner step and training."""
    optimizer, key = config, randomness.root(0)
    probe = replace(recipe, pairs=1, particles_per_batch=None, truncation=PROBE_STEPS, min_length=PROBE_STEPS)
    estimator = Estimator(task, optimizer, probe, particle_mesh(1))
    theta = optimizer.init(key)
    thetas = jax.tree.map(lambda x: np.broadcast_to(x, (2, *np.shape(x))), theta)
    keys, lengths, ages = jax.random.split(key, 2), jnp.full(2, recipe.max_length, jnp.int32), jnp.zeros(2, jnp.int32)
    started = jax.jit(jax.vmap(lambda k: start(task, optimizer, theta, recipe.max_length, k)))(keys)
    # Laid out as `advance` returns it: the second call would be compiled anew otherwise.
    training: Any = split(estimator.mesh, started)

    def step() -> None:
        nonlocal training
        training, losses = estimator.advance(thetas, training, lengths, ages, keys, 0)
        jax.block_until_ready((training, losses))

    return median(_timed(step, seconds)) / (2 * PROBE_STEPS)


def _timed(step: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of every call made within about `seconds`, at least one; a first one, which compiles, does not count."""
    step()
    times: list[float] = []
    while not times or sum(times) + times[-1] < seconds:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return times
