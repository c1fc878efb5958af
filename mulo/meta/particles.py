"""Particles: antithetic pairs of inner trainings that age from truncation to truncation and start anew at their end.

A particle is a pair of trainings under θ + ε and θ − ε that share initialization and minibatches. Nothing random is
stored but ξ: perturbations, lengths and initial parameters are rebuilt from (seed, task, outer step, particle).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mulo import randomness, trees
from mulo.config import RecipeConfig
from mulo.devices import local, split
from mulo.types import Array, LearnedOptimizer, Task, Theta
from mulo.unroll import Training, start


class Particles(NamedTuple):
    """State of all particles of one task; leading axis [pairs], in `training` [2·pairs] (+ and − of each pair)."""

    training: Training
    xi: Theta
    """ξ, by which loss differences are weighed: the sum of a particle's perturbations since its unroll began (PES), the
    one that it holds, or the last one."""
    age: Array
    """[pairs] inner steps since the unroll began."""
    length: Array
    """[pairs] inner steps at which it ends."""


def initial(task: Task, optimizer: LearnedOptimizer, theta: Theta, pairs: int, mesh: Mesh) -> Particles:
    """Particles at their end, so that the first truncation starts them all; their length is 0."""
    fresh = jax.eval_shape(lambda: start(task, optimizer, theta, 1, randomness.root(0)))
    training = jax.tree.map(lambda x: np.zeros((2 * pairs, *x.shape), x.dtype), fresh)
    xi = jax.tree.map(lambda x: np.zeros((pairs, *x.shape), x.dtype), theta)
    zeros: Any = np.zeros(pairs, np.int32)
    return place(Particles(training, xi, zeros, zeros.copy()), mesh)


def place(particles: Particles, mesh: Mesh) -> Particles:
    """Lays particles out over the devices: trainings are shared out, the rest stays on one."""
    training, *rest = particles
    return Particles(split(mesh, training), *local(mesh, rest))


def draw_lengths(recipe: RecipeConfig, key: Array, count: int, step: Array | int = 0) -> Array:
    """[count] lengths, rounded to multiples of the truncation: log-uniform (µLO, appendix) or uniform.

    The outer step, from 0, decides the longest one, where that grows (`recipe.length_curriculum`).
    """
    low, high = (jnp.log(jnp.float32(length)) for length in (recipe.min_length, recipe.max_length))
    if recipe.length_curriculum:
        growing = recipe.length_curriculum * recipe.outer_steps
        high = low + (high - low) * jnp.minimum(1, jnp.float32(step) / growing)
    if recipe.lengths == "log_uniform":
        lengths = jnp.exp(jax.random.uniform(key, (count,), jnp.float32, minval=low, maxval=high))
    else:
        lengths = jax.random.uniform(key, (count,), jnp.float32, minval=jnp.exp(low), maxval=jnp.exp(high))
    return to_truncations(lengths, recipe.truncation)


def to_truncations(steps: Array, truncation: int) -> Array:
    """The nearest multiple of the truncation, at least one."""
    return jnp.maximum(truncation, truncation * jnp.round(steps / truncation).astype(jnp.int32))


def draw_offsets(recipe: RecipeConfig, key: Array, lengths: Array) -> Array:
    """[count] ages at which first unrolls start, whole truncations before their end.

    0 where particles go in lockstep; uniform over all truncations of the unroll where they are spread (NRES), else
    uniform in [0, start_offset), to the nearest truncation.
    """
    if recipe.traits.lockstep:
        return jnp.zeros_like(lengths)
    if recipe.traits.spread:
        return recipe.truncation * jax.random.randint(key, lengths.shape, 0, lengths // recipe.truncation, jnp.int32)
    drawn = jax.random.uniform(key, lengths.shape, jnp.float32, maxval=recipe.start_offset)
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
    """Draws this outer step's new starts: first ξ, age and length of the particles at their end."""
    pairs, ended = len(age), age >= length
    lengths = draw_lengths(recipe, randomness.branch(key, "length"), 1 if recipe.traits.lockstep else pairs, step)
    lengths = jnp.broadcast_to(lengths, (pairs,))
    # Only a particle that has never started has length 0: its first unroll is shortened.
    ages = jnp.where(length == 0, draw_offsets(recipe, randomness.branch(key, "offset"), lengths), 0)
    renewal = Renewal(ended, lengths, randomness.each(randomness.branch(key, "init"), pairs))
    xi = trees.where(ended, _first_xi(recipe, xi, key), xi)
    return renewal, xi, jnp.where(ended, ages, age), jnp.where(ended, lengths, length)


def _first_xi(recipe: RecipeConfig, xi: Theta, key: Array) -> Theta:
    """The ε held from here on, or 0 where every outer step draws its own."""
    if not recipe.traits.held:
        return jax.tree.map(jnp.zeros_like, xi)
    return perturbations(jax.tree.map(lambda x: x[0], xi), recipe.sigma, key, recipe.pairs)


def restarted(task: Task, optimizer: LearnedOptimizer, theta: Theta, training: Training, renewal: Renewal) -> Training:
    """New parameters and optimizer states for those that start anew, the same on both sides of a pair."""

    def restart(training: Training) -> Training:
        fresh = jax.vmap(lambda length, key: start(task, optimizer, theta, length, key))(renewal.length, renewal.key)
        return trees.where(both(renewal.ended), both(fresh), training)

    # In most outer steps none has ended, and nothing has to be drawn or copied.
    return jax.lax.cond(renewal.ended.any(), restart, lambda training: training, training)


def both(tree: Any) -> Any:
    """[pairs, …] → [2·pairs, …], the same for both sides."""
    return jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), tree)


def perturbations(theta: Theta, sigma: float, key: Array, pairs: int) -> Theta:
    """[pairs, …] perturbations ε of θ with standard deviation σ, each from its own branch of an outer step's key."""

    def perturbation(key: Array) -> Theta:
        return jax.tree.map(lambda x: sigma * x, trees.random_normal(key, theta))

    return jax.vmap(perturbation)(randomness.each(randomness.branch(key, "perturbation"), pairs))


def sides(theta: Theta, epsilon: Theta) -> Theta:
    """[2·pairs, …]: θ + ε and θ − ε of each pair."""

    def around(x: Array, e: Array) -> Array:
        whole = jnp.expand_dims(x, 0)
        return jnp.stack([whole + e, whole - e], 1).reshape(-1, *jnp.shape(x))

    return jax.tree.map(around, theta, epsilon)
