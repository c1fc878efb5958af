"""Meta-training beside the loop it replaces: truncations under PES, inner steps per second.

The loop is how it is usually written: the straightforward form of the update, minibatches drawn on the host and handed
to a compiled scan over the truncation, vmapped over trainings. Both take turns of a few outer steps.
`python -m benchmarks meta_training`
"""

import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import record
from benchmarks.record import Row
from benchmarks.straightforward import traced_as
from mulo import distributed, randomness
from mulo.config import MLPConfig, RecipeConfig
from mulo.data import embedded
from mulo.data.sources import InMemory, in_memory
from mulo.devices import particle_mesh
from mulo.meta.estimators import Estimator
from mulo.meta.particles import perturbations, sides
from mulo.optimizers import SmallFC
from mulo.tasks import make_tasks
from mulo.unroll import Training

TURNS = 3
PLACES: dict[str, dict[str, Any]] = {
    "784-128-128-128-10": {"width": 128, "depth": 3, "batch_size": 128, "hidden_size": 32, "pixels": 784, "steps": 2},
    "64-32-10": {"width": 32, "depth": 1, "batch_size": 64, "hidden_size": 4, "pixels": 64, "steps": 30},
}
RECIPE = RecipeConfig(truncation=50, pairs=8, min_length=1000, max_length=1000, start_offset=1)


def dataset(pixels: int) -> InMemory:
    """Fashion-MNIST at 8×8, or noise of another size in its place: what is in the images costs nothing."""
    host = dict(embedded.read())
    if pixels != 64:
        draw = np.random.default_rng(0).integers
        for split in ("train", "test"):
            host[f"{split}_images"] = draw(0, 256, (len(host[f"{split}_labels"]), pixels), np.uint8)
    return in_memory("benchmark", host)


class Ours:
    """Meta-training as mulo does it."""

    def __init__(self, task: Any, optimizer: Any, devices: int | None = None) -> None:
        self.task, self.optimizer = task, optimizer
        self.estimator = Estimator(task, optimizer, RECIPE, particle_mesh(RECIPE.pairs, devices))
        self.theta = optimizer.init(randomness.root(0))
        self.particles = self.estimator.initial(self.theta)
        self.steps, self.times = 0, list[float]()
        # The first starts all particles, and compiles.
        self.particles, _ = self.estimator.estimate(self.theta, self.particles, 0, self._key())

    def _key(self) -> jax.Array:
        return _branch(randomness.root(1), self.steps)

    def gradient(self) -> Any:
        """One meta-gradient."""
        self.particles, estimate = self.estimator.estimate(self.theta, self.particles, self.steps, self._key())
        return estimate.gradient

    def turn(self, steps: int) -> None:
        """Times some consecutive steps; the first finds the caches as others left them and does not count."""
        for call in range(steps + 1):
            begun = time.perf_counter()
            self.steps += 1
            jax.block_until_ready(self.gradient())
            if call:
                self.times.append(time.perf_counter() - begun)


class Loop(Ours):
    """The same with the straightforward form and minibatches from the host."""

    def __init__(self, task: Any, optimizer: Any) -> None:
        super().__init__(task, optimizer, devices=1)
        images, labels = (np.asarray(x) for x in task.data["train"])
        normal = (images.reshape(len(images), -1) / 255 - task.dataset.mean) / task.dataset.std
        self.images, self.labels = normal.astype(np.float32), labels
        self.draw = np.random.default_rng(0)
        self.advance = jax.jit(jax.vmap(self._truncation), donate_argnums=1)

    def _truncation(self, theta: Any, training: Training, batches: Any) -> tuple[Training, jax.Array]:
        transform = self.optimizer.transform(theta, RECIPE.max_length, self.task.multipliers)

        def step(carry: Training, batch: Any) -> tuple[Training, jax.Array]:
            loss, gradients = jax.value_and_grad(self.task.loss)(carry.params, batch)
            updates, state = transform.update(gradients, carry.optimizer_state, carry.params, value=loss)
            return Training(optax.apply_updates(carry.params, updates), state), loss

        training, losses = jax.lax.scan(step, training, batches)
        return training, losses.mean()

    def _batches(self) -> tuple[np.ndarray, np.ndarray]:
        """[trainings, truncation, batch, …], the same for both sides of a pair."""
        size = (RECIPE.pairs, RECIPE.truncation, self.task.batch_size)
        chosen = np.repeat(self.draw.integers(0, len(self.labels), size), 2, axis=0)
        return self.images[chosen], self.labels[chosen]

    def gradient(self) -> Any:
        """One meta-gradient."""
        epsilon = _perturbations(self.theta, self._key())
        with traced_as("straightforward"):
            training, losses = self.advance(sides(self.theta, epsilon), self.particles.training, self._batches())
        self.particles = self.particles._replace(training=training)
        return _weighed(epsilon, losses)


_branch = jax.jit(randomness.branch)


@jax.jit
def _perturbations(theta: Any, key: jax.Array) -> Any:
    return perturbations(theta, RECIPE.sigma, key, RECIPE.pairs)


@jax.jit
def _weighed(epsilon: Any, losses: jax.Array) -> Any:
    weights = (losses[0::2] - losses[1::2]) / (2 * RECIPE.sigma**2 * RECIPE.pairs)
    return jax.tree.map(lambda e: jnp.tensordot(weights, e, axes=1), epsilon)


def compared(name: str) -> list[Row]:
    """One row for the loop and one for ours."""
    place = PLACES[name]
    config = SmallFC(hidden_size=place["hidden_size"])
    network = MLPConfig(width=place["width"], depth=place["depth"], batch_size=place["batch_size"])
    task = make_tasks(network, "mup", dataset(place["pixels"]))[0]
    contestants = {
        "straightforward loop": Loop(task, config),
        "mulo": Ours(task, config),
    }
    for _ in range(TURNS):
        for contestant in contestants.values():
            contestant.turn(place["steps"])
    base = median(contestants["straightforward loop"].times)
    return [_row(name, form, place, contestant, base) for form, contestant in contestants.items()]


def _row(name: str, form: str, place: dict[str, Any], contestant: Ours, base: float) -> Row:
    seconds = median(contestant.times)
    inner = 2 * RECIPE.pairs * RECIPE.truncation
    params = contestant.particles.training.params
    return {
        "architecture": "small_fc",
        "form": form,
        "hidden": place["hidden_size"],
        "width": place["width"],
        "network": name,
        "parameters": sum(x[0].size for x in jax.tree.leaves(params)),
        "ms_median": 1e3 * seconds,
        "ratio_to_straightforward": base / seconds,
        "outer_steps_per_s": 1 / seconds,
        "inner_steps_per_s": inner / seconds,
    }


def main() -> None:
    """Measures both networks."""
    distributed.use_all_cores()
    record.put("meta_training", [row for name in PLACES for row in compared(name)])


if __name__ == "__main__":
    main()
