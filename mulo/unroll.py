"""A truncation of one inner training as a single scan: data are sampled inside, nothing returns to the host."""

from typing import Any, NamedTuple

import jax
import optax

from mulo.types import Array, LearnedOptimizer, Params, Task, Theta


class Training(NamedTuple):
    """An inner training under way."""

    params: Params
    optimizer_state: Any
    drawn: Any = ()
    """What `Task.draw` gave at its start."""


def start(task: Task, optimizer: LearnedOptimizer, theta: Theta, length: Array | int, key: Array) -> Training:
    """A fresh training of `length` inner steps."""
    params = task.init(key)
    state = optimizer.transform(theta, length, task.multipliers).init(params)
    return Training(params, state, task.draw(key))


def unroll(
    task: Task,
    optimizer: LearnedOptimizer,
    theta: Theta,
    training: Training,
    length: Array | int,
    data: Any,
    keys: Array,
) -> tuple[Training, Array]:
    """Runs one inner step per key.

    Args:
        task: what is trained.
        optimizer: what trains it, with weights `theta`.
        theta: the optimizer's weights.
        training: where to go on from.
        length: inner steps of the whole unroll, which may be more than this truncation's.
        data: `task.data`.
        keys: [steps], one per minibatch.

    Returns:
        The training afterwards, and the minibatch loss before each step, [steps].
    """
    transform = optimizer.transform(theta, length, task.multipliers)

    def step(carry: Training, key: Array) -> tuple[Training, Array]:
        batch = task.sample(data, key)
        loss, gradients = jax.value_and_grad(task.loss)(carry.params, batch, carry.drawn)
        updates, state = transform.update(gradients, carry.optimizer_state, carry.params, value=loss)
        return Training(optax.apply_updates(carry.params, updates), state, carry.drawn), loss

    return jax.lax.scan(step, training, keys)
