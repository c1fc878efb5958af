"""Learned step sizes: of every role a curve over the training, on top of λ1 and its schedule.

A baseline has one learning rate for all parameters, since every further one multiplies what has to be tuned. Under µP
the best ratios between roles (input, hidden, output, bias, …) are the same at every width, so that they can be
meta-trained on narrow networks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mulo.optimizers.scaling import by_path
from mulo.types import Array, Multiplier, Multipliers, Params

ROLES = ("input", "hidden", "output", "bias")
"""Embeddings are input matrices and gains of norms are biases here: networks of meta-training may have neither."""
_SHARED = {"embedding": "input", "norm": "bias"}
GAIN = 5.0
"""Weights are small, as all of θ is; a size is exp of this times a sum of them."""


def initial() -> Array:
    """[roles, 3] zeros: every size is 1."""
    return jnp.zeros((len(ROLES), 3), jnp.float32)


def role_of(multiplier: Multiplier, rank: int) -> int:
    """Row of a parameter; of an unknown role it is that of hidden matrices or of biases, by the rank."""
    role = _SHARED.get(multiplier.role or "", multiplier.role)
    return ROLES.index(role if role in ROLES else "hidden" if rank >= 2 else "bias")


def sizes(weights: Array, step: Array, num_steps: Array) -> Array:
    """[roles]: exp of a parabola in the fraction of the training that is done."""
    x = 2 * jnp.clip(step.astype(jnp.float32) / num_steps, 0, 1) - 1
    basis = jnp.stack([jnp.ones_like(x), x, 1.5 * x**2 - 0.5])
    return jnp.exp(GAIN * jnp.sum(weights * basis[None], axis=-1))


def sizes_of(theta: Any, num_steps: Array, step: Array) -> Callable[[Multiplier, int], Array | float]:
    """The step size of a parameter, by multiplier and rank; 1 where θ holds none."""
    if "step_sizes" not in theta:
        return lambda multiplier, rank: 1.0
    every = sizes(theta["step_sizes"], step, num_steps)
    return lambda multiplier, rank: every[role_of(multiplier, rank)]


class StepState(NamedTuple):
    """Steps done."""

    step: Array


def scale_by_step_sizes(theta: Any, num_steps: Array, multipliers: Multipliers) -> optax.GradientTransformation:
    """Updates times the step sizes in θ, as a transformation that counts steps by itself."""

    def update_fn(updates: Any, state: StepState, params: Params | None = None) -> tuple[Any, StepState]:
        del params
        size = sizes_of(theta, num_steps, state.step)
        scaled = jax.tree.map(lambda u, c: size(c, u.ndim) * u, updates, by_path(multipliers, updates))
        return scaled, StepState(state.step + 1)

    return optax.GradientTransformation(lambda params: StepState(jnp.int32(0)), update_fn)
