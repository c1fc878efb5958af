"""The state of a meta-training between two outer steps, and which θ in it is the result."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mulo.config import RecipeConfig
from mulo.meta.particles import Particles
from mulo.types import Array, Theta


class TrainerState(NamedTuple):
    """All that the next outer step depends on besides configuration and seed.

    Fields that default to None exist where an option of the recipe needs them, so that states stored before the option
    existed stay readable.
    """

    theta: Theta
    outer: Any
    """State of the outer optimizer."""
    particles: tuple[Particles, ...]
    """One per task."""
    step: Array
    """Outer steps done."""
    best_theta: Theta
    best_loss: Array
    """Lowest validation loss so far; inf before the first validation that counts."""
    best_step: Array
    """Outer steps after which it was measured."""
    average: Theta | None = None
    """Of θ over outer steps (`recipe.outer.average`)."""
    task_squares: Array | None = None
    """[tasks] running mean of each gradient's squared norm, which starts at 0 (`recipe.normalize_tasks`)."""
    initial_loss: Array | None = None
    """Validation loss of the initial θ; inf before it is known (`recipe.go_back`)."""
    went_back: Array | None = None
    """How many times (`recipe.go_back`)."""


def initial_state(recipe: RecipeConfig, theta: Theta, outer: Any, particles: tuple[Particles, ...]) -> TrainerState:
    """Before the first outer step."""
    start: Any = np.int32(0)
    never: Any = np.float32(np.inf)
    squares: Any = np.zeros(len(particles), np.float32)
    goes_back = recipe.go_back is not None
    return TrainerState(
        theta,
        outer,
        particles,
        start,
        theta,
        never,
        start,
        average=theta if recipe.outer.average else None,
        task_squares=squares if recipe.normalize_tasks else None,
        initial_loss=never if goes_back else None,
        went_back=start if goes_back else None,
    )


def candidate(state: TrainerState) -> Theta:
    """The θ that validations judge: the average where there is one."""
    return state.theta if state.average is None else state.average


def handed_on(recipe: RecipeConfig, state: TrainerState) -> Theta:
    """The θ that is the meta-training's result if it ends here."""
    best = recipe.keep == "best" and np.isfinite(state.best_loss)
    return state.best_theta if best else candidate(state)


def keep_best(state: TrainerState, validation_loss: float) -> TrainerState:
    """Keeps the candidate as the best if its validation loss is the lowest so far."""
    if not validation_loss < float(state.best_loss):
        return state
    return state._replace(best_theta=candidate(state), best_loss=jnp.float32(validation_loss), best_step=state.step)
