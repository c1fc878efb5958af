"""Trains optimizees from start to end, all in one program: several seeds, or several settings of an optimizer."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from mulo import randomness
from mulo.devices import LaidOut, replicate
from mulo.evaluation.model_devices import OverDevices, placement
from mulo.types import Array, LearnedOptimizer, Task, Theta
from mulo.unroll import Training, start, unroll

_CHUNKS = 20


class Rollout(NamedTuple):
    """Outcome of trainings; the leading axis is that of the trainings, such as seeds."""

    curve: np.ndarray
    """[trainings, steps] minibatch loss before each step; not finite from the step of a divergence on."""
    train_loss: np.ndarray
    """[trainings] over fixed training examples, at the end."""
    test_loss: np.ndarray
    """[trainings] over held-out examples, at the end."""
    test_curve: np.ndarray
    """[trainings, points] loss over held-out examples on the way, the last at the end."""
    test_steps: np.ndarray
    """[points] inner steps done at each of them."""

    def status(self, training: int) -> str:
        """`finished`, or `diverged(<step>)` with the first step whose loss is not finite (`steps` for the end)."""
        losses = np.append(self.curve[training], self.train_loss[training] + self.test_loss[training])
        bad = np.flatnonzero(~np.isfinite(losses))
        return f"diverged({bad[0]})" if len(bad) else "finished"

    def rows(self) -> pd.DataFrame:
        """A row per training and split, as in a table of results: seed (the training's number), split, loss, status."""
        losses = {"initial": self.curve[:, 0], "train": self.train_loss, "test": self.test_loss}
        frame = pd.DataFrame({name: values.astype(float) for name, values in losses.items()}).rename_axis("seed")
        frame["status"] = [self.status(training) for training in frame.index]
        long = frame.reset_index().melt(["seed", "status"], list(losses), "split", "loss", ignore_index=False)
        return long.sort_index(kind="stable", ignore_index=True)


def rollout(
    task: Task,
    optimizer: LearnedOptimizer,
    theta: Theta,
    *,
    num_steps: int,
    seeds: int,
    key: Array,
    on_progress: Callable[[int, float], None] = lambda done, loss: None,
    mesh: Mesh | None = None,
    settings: int | None = None,
    test_points: int = 1,
) -> Rollout:
    """Trains `seeds` networks for `num_steps` steps each.

    Data that move on do so once per chunk, of which there are about 20: from equal positions under every optimizer.

    Args:
        task: the network and its data.
        optimizer: what trains it, with weights `theta`.
        theta: the optimizer's weights.
        num_steps: inner steps, which the optimizer knows.
        seeds: how many networks; the i-th has the same initialization and minibatches whatever their number.
        key: root of their randomness.
        on_progress: called after every chunk with the steps done so far and the mean loss there.
        mesh: devices that share each network, as `model_mesh` makes them; None: the default device alone.
        settings: where given, `theta` holds as many θ along its leading axes, each of which trains every seed;
            trainings are then ordered by θ, and within by seed.
        test_points: how often the test loss is measured on the way, the end included; at most once per chunk.
    """
    chunk, data_at, where = _chunk(num_steps), task.data_at, None
    if mesh is not None:
        optimizer, theta, data_at = OverDevices(optimizer, mesh), replicate(mesh, theta), partial(LaidOut(mesh), task)
        where = placement(mesh, jax.eval_shape(partial(start, task, optimizer, theta, num_steps), key))
    keys = {part: _repeated(key, part, seeds, settings or 1) for part in ("init", "data")}
    axis = None if settings is None else 0
    theta = theta if settings is None else jax.tree.map(lambda x: jnp.repeat(x, seeds, axis=0), theta)
    begin = partial(start, task, optimizer)
    training = jax.jit(jax.vmap(begin, (axis, None, 0)), out_shardings=where)(theta, np.int32(num_steps), keys["init"])
    run = jax.vmap(_advancing(task, optimizer, num_steps, chunk), (axis, 0, None, 0, None))
    advance = jax.jit(run, donate_argnums=1, out_shardings=(where, None))
    evaluate = jax.jit(partial(_full_losses, task, optimizer), static_argnums=2)
    curves, tests = [], {}
    for done in range(chunk, num_steps + 1, chunk):
        data = data_at(done // chunk - 1)
        training, losses = advance(theta, training, data, keys["data"], np.int32(done - chunk))
        curves.append(np.asarray(losses))
        on_progress(done, float(losses[:, -1].mean()))
        if done * test_points // num_steps > (done - chunk) * test_points // num_steps:
            tests[done] = np.asarray(evaluate(training, data, "test"))
    train = np.asarray(evaluate(training, data, "train"))
    test_curve = np.stack(list(tests.values()), axis=1)
    return Rollout(np.concatenate(curves, axis=1), train, test_curve[:, -1], test_curve, np.array(list(tests)))


def _repeated(key: Array, name: str, seeds: int, settings: int) -> Array:
    """[settings · seeds] keys: every setting has the same networks and minibatches."""
    keys = randomness.each(randomness.branch(key, name), seeds)
    return keys if settings == 1 else jnp.tile(keys, settings)


def _chunk(num_steps: int) -> int:
    """The largest divisor of the number of steps that gives at least `_CHUNKS` chunks, if there are so many steps."""
    return max(size for size in range(1, max(1, num_steps // _CHUNKS) + 1) if num_steps % size == 0)


def _advancing(task: Task, optimizer: LearnedOptimizer, num_steps: int, chunk: int) -> Callable[..., Any]:
    """One chunk of one training."""

    def advance(theta: Theta, training: Training, data: Any, key: Array, done: Array) -> tuple[Training, Array]:
        keys = jax.vmap(lambda i: randomness.branch(key, done + i))(jnp.arange(chunk, dtype=jnp.int32))
        return unroll(task, optimizer, theta, training, num_steps, data, keys)

    return advance


def _full_losses(task: Task, optimizer: LearnedOptimizer, trainings: Training, data: Any, split: str) -> Array:
    def loss(training: Training) -> Array:
        return task.full_loss(optimizer.evaluation_params(training.optimizer_state, training.params), data, split)

    # One network at a time: the activations of thousands of examples need not exist for all trainings at once.
    return jax.lax.map(loss, trainings)
