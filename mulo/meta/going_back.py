"""What a validation leads to: a best θ, and a return to it where meta-training has made θ much worse than its start."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mulo.config import RecipeConfig
from mulo.meta.state import TrainerState, keep_best
from mulo.types import Theta


def judge_initial(recipe: RecipeConfig, state: TrainerState, theta: Theta, loss: float) -> TrainerState:
    """Notes the validation loss of the initial θ, the first best one where the recipe may return to it or hand it on.

    Args:
        recipe: of the meta-training.
        state: after the first outer step.
        theta: the initial one.
        loss: its validation loss.
    """
    if recipe.go_back is not None:
        state = state._replace(initial_loss=jnp.float32(loss))
    if recipe.go_back is None and recipe.keep == "last":
        return state
    return state._replace(best_theta=theta, best_loss=jnp.float32(loss), best_step=jnp.int32(0))


def judge(recipe: RecipeConfig, outer: optax.GradientTransformation, state: TrainerState, loss: float) -> TrainerState:
    """Keeps the candidate if it is the best so far; goes back to the best if it is too bad.

    Args:
        recipe: of the meta-training.
        outer: the outer optimizer.
        state: with the candidate.
        loss: the candidate's validation loss.
    """
    state = keep_best(state, loss)
    if recipe.go_back is None or state.initial_loss is None or state.went_back is None:
        return state
    if loss <= (1 + recipe.go_back) * float(state.initial_loss):
        return state
    return _back(outer, state)._replace(went_back=jnp.asarray(state.went_back) + 1)


def _back(outer: optax.GradientTransformation, state: TrainerState) -> TrainerState:
    """The best θ so far with fresh moments and particles."""
    theta = state.best_theta
    return state._replace(
        theta=theta,
        outer=_without_moments(outer, state.outer, theta),
        particles=tuple(
            particles._replace(age=jnp.zeros_like(particles.age), length=jnp.zeros_like(particles.length))
            for particles in state.particles  # at their end, as before the first outer step
        ),
        average=None if state.average is None else theta,
    )


def _without_moments(outer: optax.GradientTransformation, old: Any, theta: Theta) -> Any:
    """The outer optimizer's initial state, but the learning rate goes on along its schedule."""

    def is_schedule(part: Any) -> bool:
        return isinstance(part, optax.ScaleByScheduleState)

    fresh = jax.jit(outer.init)(theta)
    return jax.tree.map(lambda a, b: a if is_schedule(a) else b, old, fresh, is_leaf=is_schedule)


def slowdown(state: TrainerState) -> float:
    """Factor on the outer learning rate: ½ for each time that θ went back."""
    return 1.0 if state.went_back is None else 0.5 ** int(np.asarray(state.went_back))
