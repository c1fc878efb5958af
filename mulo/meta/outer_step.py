"""One outer step: the tasks' gradients become one, the outer optimizer moves θ, and what accompanies θ moves along."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mulo.config import RecipeConfig
from mulo.meta.estimators import Estimate
from mulo.meta.going_back import slowdown
from mulo.meta.outer import outer_optimizer, schedule
from mulo.meta.state import TrainerState
from mulo.types import Array, Theta

NORM_DECAY = 0.99
"""Per outer step, of the running mean of a task's squared gradient norm."""
_TINY = 1e-30


class _Moving(NamedTuple):
    """What an outer step moves: the fields of `TrainerState` of the same names."""

    theta: Theta
    outer: Any
    average: Theta | None
    task_squares: Array | None


class OuterStep:
    """θ's step from estimates of all tasks; compiled once.

    Args:
        recipe: outer optimizer, and what is done around it.
    """

    def __init__(self, recipe: RecipeConfig) -> None:
        self.recipe = recipe
        self.optimizer = outer_optimizer(recipe.outer)
        self._rate = schedule(recipe.outer)
        self._compiled = jax.jit(self._move)

    def __call__(
        self, state: TrainerState, estimates: tuple[Estimate, ...], start: Theta | None
    ) -> tuple[TrainerState, dict[str, Array]]:
        """The state with θ moved, and norms of gradient and update with the learning rate.

        Args:
            state: before the step.
            estimates: one per task.
            start: the initial θ; None where nothing pulls towards it.
        """
        moving = _Moving(state.theta, state.outer, state.average, state.task_squares)
        slow: Any = None if state.went_back is None else np.float32(slowdown(state))
        moved, norms = self._compiled(moving, estimates, np.int32(state.step), slow, start)
        return state._replace(**moved._asdict()), norms

    def _move(
        self, old: _Moving, estimates: tuple[Estimate, ...], step: Array, slow: Array | None, start: Theta | None
    ) -> tuple[_Moving, dict[str, Array]]:
        gradients, squares = [estimate.gradient for estimate in estimates], old.task_squares
        if squares is not None:
            gradients, squares = normalized(gradients, squares, step)
        mean = jax.tree.map(lambda *g: sum(g[1:], g[0]) / len(g), *gradients)
        updates, outer = self.optimizer.update(mean, old.outer, old.theta)
        rate = jnp.asarray(self._rate(step), jnp.float32)
        if slow is not None:
            updates, rate = jax.tree.map(lambda x: slow * x, updates), slow * rate
        theta = optax.apply_updates(old.theta, updates)
        if start is not None:
            theta = _between(theta, start, rate * self.recipe.outer.pull)
        average = None if old.average is None else _between(theta, old.average, self.recipe.outer.average)
        norms = {"gradient_norm": optax.tree.norm(mean), "update_norm": optax.tree.norm(updates)}
        return _Moving(theta, outer, average, squares), norms | {"learning_rate": rate}


def _between(one: Theta, other: Theta, share: Any) -> Theta:
    """`share` of the way from one to the other."""
    return jax.tree.map(lambda a, b: a + share * (b - a), one, other)


def normalized(gradients: Sequence[Theta], squares: Array, step: Array) -> tuple[list[Theta], Array]:
    """Each task's gradient over the running root mean square of its norm, this step included.

    Args:
        gradients: one per task.
        squares: [tasks] running mean of squared norms over the `step` steps before, which started at 0.
        step: outer step, from 0.

    Returns:
        The gradients and the running mean.
    """
    now = jnp.stack([optax.tree.norm(gradient, squared=True) for gradient in gradients])
    squares = NORM_DECAY * squares + (1 - NORM_DECAY) * now
    seen = 1 - NORM_DECAY ** (jnp.float32(step) + 1)
    scales = 1 / jnp.maximum(jnp.sqrt(squares / seen), _TINY)
    return [jax.tree.map(lambda x, s=s: s * x, g) for g, s in zip(gradients, scales, strict=True)], squares
