"""The outer loop: gradients of all tasks averaged, one AdamW step on θ, state that can be saved at any outer step."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import jax
import numpy as np
from jax.sharding import Mesh

from mulo import distributed, randomness
from mulo.config import RecipeConfig
from mulo.devices import LaidOut, local, particle_mesh
from mulo.meta import going_back
from mulo.meta.estimators import Estimate, Estimator
from mulo.meta.outer_step import OuterStep
from mulo.meta.particles import Particles, place
from mulo.meta.state import TrainerState, candidate, initial_state
from mulo.meta.validation import Metrics, Validation
from mulo.types import Array, LearnedOptimizer, Task, Theta


class Trainer:
    """Meta-trains θ on a set of tasks.

    Args:
        tasks: each its own estimator; their gradients are averaged with equal weight.
        optimizer: the learned optimizer.
        recipe: how.
        seed: root of all randomness.
        mesh: the devices that particles are shared out among; None: all that the pairs divide into.
        validated: the networks of validations; None: those of `tasks`.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        optimizer: LearnedOptimizer,
        recipe: RecipeConfig,
        seed: int,
        mesh: Mesh | None = None,
        validated: Sequence[Task] | None = None,
    ) -> None:
        self.tasks, self.optimizer, self.recipe = tuple(tasks), optimizer, recipe
        self.mesh = mesh or particle_mesh(recipe.pairs)
        data = LaidOut(self.mesh)
        self.estimators = [Estimator(task, optimizer, recipe, self.mesh, data) for task in tasks]
        self.key = randomness.root(seed)
        self.validate = Validation(self.estimators, validated, optimizer, recipe, self.key)
        self._outer = OuterStep(recipe)
        # Tasks compile side by side in their first step; afterwards their programs only queue up.
        # Several processes must queue them in the same order, or they would deadlock.
        self._pool = ThreadPoolExecutor(1 if distributed.several() else len(self.tasks))

    def initial_theta(self) -> Theta:
        """θ before meta-training."""
        return jax.jit(self.optimizer.init)(randomness.branch(self.key, "theta"))

    @cached_property
    def start(self) -> Theta:
        """The initial θ, computed once from the seed."""
        return local(self.mesh, self.initial_theta())

    def initial(self) -> TrainerState:
        """The state before the first outer step."""
        theta = self.start
        particles = tuple(estimator.initial(theta) for estimator in self.estimators)
        outer = jax.jit(self._outer.optimizer.init)(theta)
        return self.place(initial_state(self.recipe, theta, outer, particles))

    def place(self, state: TrainerState) -> TrainerState:
        """Lays a state out over the devices."""
        particles = tuple(place(part, self.mesh) for part in state.particles)
        rest = local(self.mesh, state._replace(particles=()))
        return rest._replace(particles=particles)

    def step(self, state: TrainerState) -> tuple[TrainerState, Metrics]:
        """One outer step; `state.particles` are donated."""
        step = int(state.step)

        def estimate(estimator: Estimator, particles: Particles) -> tuple[Particles, Estimate]:
            return estimator.estimate(state.theta, particles, step, _key(self.key, np.int32(step), estimator.task.name))

        pairs = list(self._pool.map(estimate, self.estimators, state.particles))
        estimates = tuple(estimate for _, estimate in pairs)
        state, norms = self._outer(state, estimates, self.start if self.recipe.outer.pull else None)
        particles = tuple(advanced for advanced, _ in pairs)
        return state._replace(particles=particles, step=state.step + 1), self._metrics(step, estimates, norms)

    def _metrics(self, step: int, estimates: tuple[Estimate, ...], norms: dict[str, Array]) -> Metrics:
        losses = [float(estimate.meta_loss) for estimate in estimates]
        per_task = {f"meta_loss/{task.name}": loss for task, loss in zip(self.tasks, losses, strict=True)}
        return {
            "outer_step": step + 1,
            "meta_loss": float(np.mean(losses)),
            **per_task,
            "clipped_share": float(np.mean([float(e.clipped) for e in estimates])),
            "non_finite_share": float(np.mean([float(e.non_finite) for e in estimates])),
            **{name: float(norm) for name, norm in norms.items()},
        }

    def judge_initial(self, state: TrainerState, loss: float) -> TrainerState:
        """Notes the initial θ's validation loss, where the recipe needs it."""
        return going_back.judge_initial(self.recipe, state, self.start, loss)

    def judge(self, state: TrainerState, loss: float) -> TrainerState:
        """What the validation loss of `candidate(state)` leads to: it is the best so far, or θ goes back."""
        return going_back.judge(self.recipe, self._outer.optimizer, state, loss)


@partial(jax.jit, static_argnames="task")
def _key(root: Array, step: int, task: str) -> Array:
    """Of one task in one outer step; compiled, because branching key by key takes a millisecond."""
    return randomness.branch(root, "meta", step, task)


def run(
    trainer: Trainer,
    state: TrainerState,
    on_step: Callable[[int, float], None],
    record: Callable[[Metrics], None],
    save: Callable[[TrainerState], None],
    stop_requested: Callable[[], bool] = lambda: False,
) -> TrainerState:
    """Takes outer steps until the recipe's number is done or a stop is requested; saves on the way and at the end.

    Args:
        trainer: what to run.
        state: where to go on from.
        on_step: receives the outer steps done and the meta-loss after every step.
        record: receives one row of metrics per outer step; row 0 holds the validation of the initial θ.
        save: receives the state every `save_every` steps and at the end.
        stop_requested: called after every outer step; where true, the state is saved and returned at once.
    """
    recipe = trainer.recipe
    while int(state.step) < recipe.outer_steps:
        state, row = trainer.step(state)
        done = int(state.step)
        on_step(done, row["meta_loss"])
        if done == 1:
            initial = trainer.validate(trainer.start)
            state = trainer.judge_initial(state, initial["validation_loss"])
            record({"outer_step": 0, **initial})
        last = done == recipe.outer_steps
        if done % recipe.validate_every == 0 or last:
            row |= trainer.validate(candidate(state))
            state = trainer.judge(state, row["validation_loss"])
        if state.went_back is not None:
            row["went_back"] = int(state.went_back)
        record(row)
        stopping = stop_requested()
        if done % recipe.save_every == 0 or last or stopping:
            save(state)
        if stopping:
            break
    return state
