"""Particles: antithetic pairs of inner trainings that age from truncation to truncation and start anew at their end.

A particle is a pair of trainings under θ + ε and θ − ε that share initialization and minibatches. Nothing random is
stored: perturbations, lengths and initial parameters are rebuilt from (seed, task, outer step, particle).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mulo import randomness, trees
from mulo.config import RecipeConfig
from mulo.meta.devices import local, split
from mulo.meta.unroll import Training, start
from mulo.types import Array, LearnedOptimizer, Task, Theta


class Particles(NamedTuple):
    """State of all particles of one task; leading axis [pairs], in `training` [2·pairs] (+ and − of each pair)."""

    training: Training
    xi: Theta
    """ξ: sum of a particle's perturbations since its unroll began, as PES weighs them."""
    age: Array
    """[pairs] inner steps since the unroll began."""
    length: Array
    """[pairs] inner steps at which it ends."""


def initial(task: Task, optimizer: LearnedOptimizer, theta: Theta, pairs: int, mesh: Mesh) -> Particles:
    """Particles at their end, so that the first truncation starts them all."""
    one = jax.eval_shape(lambda: start(task, optimizer, theta, 1, randomness.root(0)))
    training = jax.tree.map(lambda x: np.zeros((2 * pairs, *x.shape), x.dtype), one)
    xi = jax.tree.map(lambda x: np.zeros((pairs, *x.shape), x.dtype), theta)
    zeros: Any = np.zeros(pairs, np.int32)
    return place(Particles(training, xi, zeros, zeros.copy()), mesh)


def place(particles: Particles, mesh: Mesh) -> Particles:
    """Lays particles out over the devices: trainings are shared out, the rest stays on one."""
    training, *rest = particles
    return Particles(split(mesh, training), *local(mesh, rest))


def draw_lengths(recipe: RecipeConfig, key: Array, count: int) -> Array:
    """[count] log-uniform lengths, rounded to multiples of the truncation (µLO, appendix)."""
    low, high = jnp.log(recipe.min_length), jnp.log(recipe.max_length)
    lengths = jnp.exp(jax.random.uniform(key, (count,), minval=low, maxval=high))
    return to_truncations(lengths, recipe.truncation)


def to_truncations(steps: Array, truncation: int) -> Array:
    """The nearest multiple of the truncation, at least one."""
    return jnp.maximum(truncation, truncation * jnp.round(steps / truncation).astype(jnp.int32))


def draw_offsets(recipe: RecipeConfig, key: Array, lengths: Array) -> Array:
    """[count] ages at which first unrolls start: uniform in [0, start_offset), to whole truncations, before the end."""
    drawn = jax.random.uniform(key, lengths.shape, maxval=recipe.start_offset)
    aligned = recipe.truncation * jnp.round(drawn / recipe.truncation).astype(jnp.int32)
    return jnp.minimum(aligned, lengths - recipe.truncation)


class Renewal(NamedTuple):
    """Which particles have reached their end, and how they start anew; leading axis [pairs]."""

    ended: Array
    length: Array
    key: Array


def renewed(
    recipe: RecipeConfig, xi: Theta, age: Array, length: Array, step: Array, key: Array
) -> tuple[Renewal, Theta, Array, Array]:
    """Draws this outer step's new starts; ξ = 0, a first age and a new length for the particles at their end."""
    pairs, ended = len(age), age >= length
    lengths = draw_lengths(recipe, randomness.branch(key, "length"), 1 if recipe.estimator == "es" else pairs)
    lengths = jnp.broadcast_to(lengths, (pairs,))
    offsets = draw_offsets(recipe, randomness.branch(key, "offset"), lengths)
    ages = jnp.where((step == 0) & (recipe.estimator != "es"), offsets, 0)
    renewal = Renewal(ended, lengths, randomness.each(randomness.branch(key, "init"), pairs))
    xi = trees.where(ended, jax.tree.map(jnp.zeros_like, xi), xi)
    return renewal, xi, jnp.where(ended, ages, age), jnp.where(ended, lengths, length)


def restarted(task: Task, optimizer: LearnedOptimizer, theta: Theta, training: Training, renewal: Renewal) -> Training:
    """New parameters and optimizer states for those that start anew, the same on both sides of a pair."""

    def some(training: Training) -> Training:
        fresh = jax.vmap(lambda length, key: start(task, optimizer, theta, length, key))(renewal.length, renewal.key)
        return trees.where(both(renewal.ended), both(fresh), training)

    # In most outer steps none has ended, and nothing need be drawn or copied.
    return jax.lax.cond(renewal.ended.any(), some, lambda training: training, training)


def both(tree: Any) -> Any:
    """[pairs, …] → [2·pairs, …], the same for both sides."""
    return jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), tree)


def perturbations(theta: Theta, sigma: float, key: Array, pairs: int) -> Theta:
    """[pairs, …] perturbations ε of standard deviation σ, each from its own key."""

    def one(key: Array) -> Theta:
        return jax.tree.map(lambda x: sigma * x, trees.random_normal(key, theta))

    return jax.vmap(one)(randomness.each(key, pairs))


def sides(theta: Theta, epsilon: Theta) -> Theta:
    """[2·pairs, …]: θ + ε and θ − ε of each pair."""
    return jax.tree.map(lambda x, e: jnp.stack([x + e, x - e], 1).reshape(-1, *jnp.shape(x)), theta, epsilon)
