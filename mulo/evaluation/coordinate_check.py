"""Coordinate check: how far the pre-activations of each layer change in training, over width or over depth.

Under µP they change by amounts that do not depend on width: log std over log width has slope 0 (Yang et al.
2022, arXiv 2203.03466, appendix D.1; µLO, arXiv 2406.00153, figure 2). Under CompleteP they do not depend on
depth either (Dey et al. 2025, arXiv 2505.01618). Two changes are measured:

- `x_t - x_0`: the pre-activation against that at initialization, all layers below having changed as well;
- `(W_t - W_0) x`: what the change of the layer's matrix adds to it, x being the layer's input at t.

The first is what matters; the second shows a wrong multiplier that the change of the layers below hides.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mulo import randomness
from mulo.errors import MuloError
from mulo.evaluation.coordinate_rows import CHANGES, with_slopes
from mulo.types import Array, LayeredTask, LearnedOptimizer, Params, Theta
from mulo.unroll import Training, start, unroll

MEASURES = ("x_t - x_0", "(W_t - W_0) x")


def coordinate_check(
    tasks: Sequence[LayeredTask],
    optimizer: LearnedOptimizer,
    theta: Theta,
    inputs: Array,
    *,
    times: Sequence[int],
    seeds: int,
    key: Array,
    names: tuple[str, str],
    over: str = "width",
    on_step: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """Trains one network per task and seed, and measures how the changes of its layers scale with its size.

    The optimizer knows that a training lasts max(times) steps. The minibatches of a seed are the same
    at all sizes; data that move on do so every gcd(times) steps. Only layers that every network has are compared;
    over depth the last block of each, whatever its number, is `block_last`.

    Args:
        tasks: the same network at two widths or more, or at two depths of at least 2.
        optimizer: what trains them.
        theta: the optimizer's weights.
        inputs: [batch, *input_shape], the examples on which all changes are measured.
        times: training steps after which they are measured, each at least 1.
        seeds: trainings per size, run side by side.
        key: decides initial parameters and minibatches.
        names: of the method and the parametrization, for the rows.
        over: `width` or `depth`, in which the tasks differ.
        on_step: called with how many of the len(tasks)·max(times) steps are done, every gcd(times) steps.

    Returns:
        A table of changes (`coordinate_rows.CHANGES`).

    Raises:
        MuloError: the tasks have fewer than two different sizes.
    """
    sizes = [getattr(task, over) for task in tasks]
    if len(set(sizes)) < 2:
        values = ", ".join(map(str, sizes)) or "none"
        raise MuloError(f"{over}s {values} are invalid; expected at least two different ones for a slope.")
    rows = []
    for i, task in enumerate(tasks):
        trainings = _train(task, optimizer, theta, times, randomness.each(key, seeds))
        for t, deviations in _deviations(task, trainings, inputs, times):
            on_step(i * max(times) + t)
            for (measure, layer), std in deviations.items():
                name = _at_any_depth(layer, task.depth) if over == "depth" else layer
                rows.append((measure, name, t, sizes[i], std))
    deviations = pd.DataFrame(rows, columns=["measure", "layer", "t", "size", "std"])
    shared = deviations.groupby(["measure", "layer", "t"])["size"].transform("nunique") == len(set(sizes))
    labelled = deviations[shared].assign(method=names[0], parametrization=names[1], over=over)
    return with_slopes(labelled)[list(CHANGES.columns)]


def _at_any_depth(layer: str, depth: int) -> str:
    """The layer's name, its block called last if it is: of depth 4 `block_4/out` becomes `block_last/out`."""
    return re.sub(rf"block_{depth}(?=/)", "block_last", layer)


def _train(
    task: LayeredTask, optimizer: LearnedOptimizer, theta: Theta, times: Sequence[int], keys: Array
) -> Iterator[tuple[int, Params]]:
    """Yields t and the parameters [seeds, …] at t = 0 and every gcd(times) steps; one program serves all."""
    length, chunk = max(times), math.gcd(*times)

    def begin(theta: Theta, key: Array) -> Training:
        training = start(task, optimizer, theta, length, randomness.branch(key, "init"))
        # Weakly typed arrays, such as jnp.full makes, would have `go_on` compiled twice.
        return jax.tree.map(lambda x: x.astype(x.dtype), training)

    def go_on(theta: Theta, data: Any, training: Training, key: Array, t: Array) -> Training:
        keys = jax.vmap(lambda step: randomness.branch(key, "data", step))(t + jnp.arange(chunk, dtype=jnp.int32))
        return unroll(task, optimizer, theta, training, length, data, keys)[0]

    begin_all = jax.jit(jax.vmap(begin, (None, 0)))
    go_on_all = jax.jit(jax.vmap(go_on, (None, None, 0, 0, None)))
    training = begin_all(theta, keys)
    yield 0, training.params
    for t in range(0, length, chunk):
        training = go_on_all(theta, task.data_at(t // chunk), training, keys, np.int32(t))
        yield t + chunk, training.params


Deviations = dict[tuple[str, str], float]
"""Standard deviation by measure and layer, in the network's order."""


def _deviations(
    task: LayeredTask, trainings: Iterator[tuple[int, Params]], inputs: Array, times: Sequence[int]
) -> Iterator[tuple[int, Deviations]]:
    """Yields t and the deviations, none where t is not one of `times`."""
    observe = jax.jit(jax.vmap(partial(_observe, task), (0, 0, None)))
    _, first = next(trainings)
    # x_0 comes from the program that x_t comes from, so that equal parameters differ by exactly 0.
    x_0, _ = observe(first, first, inputs)
    for t, params in trainings:
        stds: Deviations = {}
        if t in times:
            x_t, by_matrix = observe(first, params, inputs)
            for layer in x_t:
                stds[MEASURES[0], layer] = _mean_std(x_t[layer], x_0[layer])
                if layer in by_matrix:
                    stds[MEASURES[1], layer] = _mean_std(by_matrix[layer])
        yield t, stds


def _observe(
    task: LayeredTask, first: Params, params: Params, inputs: Array
) -> tuple[OrderedDict[str, Array], OrderedDict[str, Array]]:
    """Each layer's pre-activation, and of those with a matrix what its change adds, in the network's order."""
    changes = jax.tree.map(jnp.subtract, params, first)
    # Changes can be small beside the values that change, and TF32 has three digits.
    with jax.default_matmul_precision("highest"):
        layers, differences = task.layers(params, inputs), task.layers(changes, inputs)
        by_matrix = OrderedDict(
            (layer.name, difference.linear(layer.inputs))
            for layer, difference in zip(layers, differences, strict=True)
            if difference.linear is not None
        )
    return OrderedDict((layer.name, layer.preactivation) for layer in layers), by_matrix


def _mean_std(values: Array, origin: Array | float = 0.0) -> float:
    """Std of values − origin [seeds, …] over all axes but the first, averaged over seeds; nan if diverged."""
    with np.errstate(invalid="ignore"):
        changes = np.subtract(values, origin, dtype=np.float64).reshape(len(values), -1)
        return float(changes.std(axis=1).mean())
