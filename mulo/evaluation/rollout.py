"""Trains one optimizee from start to end under one optimizer, all seeds in one program."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mulo import randomness
from mulo.evaluation.model_devices import OverDevices, placement
from mulo.meta.devices import LaidOut, replicate
from mulo.meta.unroll import Training, start, unroll
from mulo.types import Array, LearnedOptimizer, Task, Theta

_CHUNKS = 20


class Rollout(NamedTuple):
    """Outcome of a training; the leading axis is that of the seeds."""

    curve: np.ndarray
    """[seeds, steps] minibatch loss before each step; not finite from the step of a divergence on."""
    train_loss: np.ndarray
    """[seeds] over fixed training examples, at the end."""
    test_loss: np.ndarray
    """[seeds] over held-out examples, at the end."""

    def status(self, seed: int) -> str:
        """`finished`, or `diverged(<step>)` with the first step whose loss is not finite (`steps` for the end)."""
        losses = np.append(self.curve[seed], self.train_loss[seed] + self.test_loss[seed])
        bad = np.flatnonzero(~np.isfinite(losses))
        return f"diverged({bad[0]})" if len(bad) else "finished"


def rollout(
    task: Task,
    optimizer: LearnedOptimizer,
    theta: Theta,
    steps: int,
    seeds: int,
    key: Array,
    on_progress: Callable[[int, float], None] = lambda done, loss: None,
    mesh: Mesh | None = None,
) -> Rollout:
    """Trains `seeds` networks for `steps` steps each.

    Data that move on do so once per chunk, of which there are about 20: from equal positions under every optimizer.

    Args:
        task: the network and its data.
        optimizer: what trains it, with weights `theta`.
        theta: the optimizer's weights.
        steps: inner steps; also what the optimizer is told as its `num_steps`.
        seeds: how many networks; the i-th has the same initialization and minibatches whatever their number.
        key: root of their randomness.
        on_progress: called after every chunk with the steps done so far and the mean loss there.
        mesh: devices that share each network, as `model_mesh` makes them; None: the default device alone.
    """
    chunk, data_at, where = _chunk(steps), task.data_at, None
    if mesh is not None:
        optimizer, theta, data_at = OverDevices(optimizer, mesh), replicate(mesh, theta), partial(LaidOut(mesh), task)
        where = placement(mesh, jax.eval_shape(partial(start, task, optimizer, theta, steps), key))
    training = jax.jit(jax.vmap(partial(start, task, optimizer, theta, steps)), out_shardings=where)(
        randomness.each(randomness.branch(key, "init"), seeds)
    )
    advance = jax.jit(partial(_advance, task, optimizer, steps, chunk), donate_argnums=1, out_shardings=(where, None))
    keys, curves = randomness.each(randomness.branch(key, "data"), seeds), []
    for done in range(0, steps, chunk):
        data = data_at(done // chunk)
        training, losses = advance(theta, training, data, keys, done)
        curves.append(np.asarray(losses))
        on_progress(done + chunk, float(losses[:, -1].mean()))
    final = jax.jit(partial(_final_losses, task))(training.params, data)
    return Rollout(np.concatenate(curves, axis=1), *(np.asarray(loss) for loss in final))


def _chunk(steps: int) -> int:
    """The largest divisor of the number of steps that still gives some chunks to report between."""
    return max(size for size in range(1, max(1, steps // _CHUNKS) + 1) if steps % size == 0)


def _advance(
    task: Task,
    optimizer: LearnedOptimizer,
    steps: int,
    chunk: int,
    theta: Theta,
    training: Training,
    data: Any,
    keys: Array,
    done: Array,
) -> tuple[Training, Array]:
    def one(training: Training, key: Array) -> tuple[Training, Array]:
        step_keys = jax.vmap(lambda i: randomness.branch(key, done + i))(jnp.arange(chunk))
        return unroll(task, optimizer, theta, training, steps, data, step_keys)

    return jax.vmap(one)(training, keys)


def _final_losses(task: Task, params: Any, data: Any) -> tuple[Array, Array]:
    # One network at a time: the activations of thousands of examples need not exist for all seeds at once.
    losses = [jax.lax.map(lambda p, split=split: task.full_loss(p, data, split), params) for split in ("train", "test")]
    return losses[0], losses[1]
