"""Trainings of a few steps on tensors of several ranks, for the tests of what learned optimizers have in common."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from mulo import trees
from mulo.optimizers import SmallFC, VeLO
from mulo.types import Multiplier
from tests.fast_compilation import known

SHAPES = {"bias": (5,), "input": (3, 6), "hidden": (6, 4), "output": (4, 3)}
MUP = {
    "bias": Multiplier(1.0, role="bias"),
    "input": Multiplier(1.0, role="input", fan_in=3),
    "hidden": Multiplier(1 / 6, role="hidden", fan_in=6),
    "output": Multiplier(1.0, role="output", fan_in=4),
}
SP = {name: replace(c, update=1.0) for name, c in MUP.items()}
PLAIN = {name: c.update for name, c in MUP.items()}
"""Of roles nothing is known."""
STEPS = 3
LENGTH = 10
"""Of the trainings whose first steps are taken."""

jit = functools.partial(jax.jit, compiler_options=known())


def normal(seed, scale, *leading, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: np.float32(scale * rng.standard_normal((*leading, *shape))) for name, shape in shapes.items()}


PARAMS = normal(1, 0.3)


def theta_of(optimizer, noise=None):
    """Fresh θ with every weight away from its often zero start; step sizes stay 1."""

    def draw(key):
        theta = optimizer.init(key)
        scale = noise if noise is not None else 0.02 if isinstance(optimizer, SmallFC) else 0.2
        moved = jax.tree.map(lambda x, e: x + scale * e, theta, trees.random_normal(jax.random.key(1), theta))
        return moved | {"step_sizes": theta["step_sizes"]} if "step_sizes" in theta else moved

    return jit(draw)(jax.random.key(0))


def numbers(multipliers):
    """What is traced of multipliers, so that those of one kind share a program."""
    known = {name: c if isinstance(c, Multiplier) else Multiplier(c) for name, c in multipliers.items()}
    return {name: (jnp.float32(c.update), jnp.float32(c.weight_decay)) for name, c in known.items()}


@functools.cache
def compiled(optimizer, roles):
    """From θ, multipliers, length, step reached, parameters and gradients [steps, …] to updates [steps, …]."""

    @jit
    def run(theta, factors, length, at, params, gradients):
        table = {name: Multiplier(*factors[name], role=role) for name, role in roles}
        transform = optimizer.transform(theta, length, table)

        def step(state, gradient):
            moved, state = transform.update(gradient, state, params, value=jnp.float32(2.0))
            return state, moved

        return jax.lax.scan(step, reached(transform.init(params), at), gradients)[1]

    return run


def reached(state, step):
    """The state with its counters of steps set, accumulators as they are."""

    def is_counter(path):
        return getattr(path[-1], "name", "") in ("step", "count")

    return jax.tree_util.tree_map_with_path(lambda path, x: jnp.int32(step) if is_counter(path) else x, state)


def updates(optimizer, theta, gradients, multipliers=MUP, length=LENGTH, at=0, params=PARAMS):
    """Updates [steps, …] of a fresh training along gradients [steps, …], none of them applied."""
    run = compiled(optimizer, tuple((name, getattr(c, "role", None)) for name, c in multipliers.items()))
    found = run(theta, numbers(multipliers), jnp.float32(length), jnp.int32(at), params, gradients)
    return jax.tree.map(lambda x: np.asarray(x, np.float64), found)


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def distance(found, expected):
    """Of two arrays, relative to the second."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


SMALL_FC = SmallFC(hidden_size=4)
VELO = VeLO(lstm_hidden_size=3, param_inits=2)
