"""Coordinate check: how far the pre-activations of each layer move in training, over width.

Under µP they move by amounts that do not depend on width: log std over log width has slope 0 (Yang et al. 2022,
arXiv 2203.03466, appendix D.1; µLO, arXiv 2406.00153, figure 2). Two movements are measured:

- `x_t - x_0`: the pre-activation against that at initialization, all layers below having moved as well;
- `(W_t - W_0) x`: what the movement of the layer's own matrix adds to it, x being the layer's input at time t.
"""

import csv
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from mulo import randomness
from mulo.errors import MuloError
from mulo.evaluation.results import replacing
from mulo.meta.unroll import Training, start, unroll
from mulo.types import Array, LayeredTask, LearnedOptimizer, Params, Theta

MEASURES = ("x_t - x_0", "(W_t - W_0) x")

Movement = tuple[str, str, int]
"""Measure, layer and t."""


class Row(TypedDict):
    """One movement at one width."""

    optimizer: str
    parametrization: str
    measure: str
    """One of MEASURES."""
    layer: str
    t: int
    """Training steps done."""
    width: int
    std: float
    """Standard deviation over examples and units together, averaged over seeds."""
    slope: float
    """Of log std over log width, by least squares: the same at all widths, nan unless the status is `moving`."""
    status: str
    """`moving`; `still`, std is exactly 0 at all widths; `undefined`, at some width it is 0 or not finite."""


class Verdict(NamedTuple):
    """One movement held against µP's slope of 0."""

    optimizer: str
    parametrization: str
    measure: str
    layer: str
    t: int
    slope: float
    outcome: str
    """`stable`, `unstable`, `still` or `undefined`; only the first is a pass, the third is neither pass nor failure."""

    @property
    def failed(self) -> bool:
        """Whether the movement contradicts µP, or cannot be judged at all."""
        return self.outcome in ("unstable", "undefined")


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
    on_step: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Trains one network per task and seed, and measures how the movements of its layers scale with width.

    The optimizer is told that a training lasts max(times) steps. A seed's minibatches are the same at all widths.

    Args:
        tasks: the same network at two widths or more.
        optimizer: what trains them.
        theta: the optimizer's weights.
        inputs: [batch, *input_shape], the examples on which all movements are measured.
        times: training steps after which they are measured.
        seeds: trainings per width, run side by side.
        key: decides initial parameters and minibatches.
        names: of the optimizer and the parametrization, for the rows.
        on_step: told how many of the len(tasks)·max(times) steps are done, every gcd(times) steps.

    Raises:
        MuloError: the tasks have fewer than two different widths.
    """
    if len({task.width for task in tasks}) < 2:
        given = ", ".join(str(task.width) for task in tasks) or "none"
        raise MuloError(f"A slope over width needs at least two different widths; given: {given}.")
    found: dict[Movement, dict[int, float]] = {}
    for i, task in enumerate(tasks):
        trainings = _train(task, optimizer, theta, times, randomness.each(key, seeds))
        for t, deviations in _deviations(task, trainings, inputs, times):
            on_step(i * max(times) + t)
            for (measure, layer), std in deviations.items():
                found.setdefault((measure, layer, t), {})[task.width] = std
    return [row for movement, stds in found.items() for row in _rows(movement, stds, names)]


def _train(
    task: LayeredTask, optimizer: LearnedOptimizer, theta: Theta, times: Sequence[int], keys: Array
) -> Iterator[tuple[int, Params]]:
    """Yields t and the parameters [seeds, …] at t = 0 and every gcd(times) steps: one program serves all times."""
    length, chunk = max(times), math.gcd(*times)

    def begin(theta: Theta, key: Array) -> Training:
        training = start(task, optimizer, theta, length, randomness.branch(key, "init"))
        # Weakly typed arrays, such as those of jnp.full, would have the first call of the other program compiled apart.
        return jax.tree.map(lambda x: x.astype(x.dtype), training)

    def go_on(theta: Theta, data: Any, training: Training, key: Array, t: Array) -> Training:
        keys = jax.vmap(lambda step: randomness.branch(key, "data", step))(t + jnp.arange(chunk))
        return unroll(task, optimizer, theta, training, length, data, keys)[0]

    begin_all = jax.jit(jax.vmap(begin, (None, 0)))
    go_on_all = jax.jit(jax.vmap(go_on, (None, None, 0, 0, None)))
    training = begin_all(theta, keys)
    yield 0, training.params
    for t in range(0, length, chunk):
        training = go_on_all(theta, task.data, training, keys, t)
        yield t + chunk, training.params


def _deviations(
    task: LayeredTask, trainings: Iterator[tuple[int, Params]], inputs: Array, times: Sequence[int]
) -> Iterator[tuple[int, dict[tuple[str, str], float]]]:
    """Yields t and, where t is one of `times`, the std of each measure and layer."""
    # x_0 and x_t come from one program, so that equal parameters differ by exactly 0.
    observe = jax.jit(jax.vmap(partial(_observe, task), (0, 0, None)))
    _, first = next(trainings)
    x_0, _ = observe(first, first, inputs)
    for t, params in trainings:
        found = {}
        if t in times:
            x_t, by_matrix = observe(first, params, inputs)
            for layer in x_t:
                found[MEASURES[0], layer] = _mean_std(np.subtract(x_t[layer], x_0[layer]))
                found[MEASURES[1], layer] = _mean_std(by_matrix[layer])
        yield t, found


def _observe(
    task: LayeredTask, first: Params, params: Params, inputs: Array
) -> tuple[OrderedDict[str, Array], OrderedDict[str, Array]]:
    """By layer, in the network's order: pre-activations, and what the matrix's movement adds to them."""
    moved = jax.tree.map(jnp.subtract, params, first)
    # Differences of nearly equal numbers: TF32 would drown them.
    with jax.default_matmul_precision("highest"):
        layers, differences = task.layers(params, inputs), task.layers(moved, inputs)
        by_matrix = [d.linear(layer.inputs) for layer, d in zip(layers, differences, strict=True)]
    preactivations = OrderedDict((layer.name, layer.preactivation) for layer in layers)
    return preactivations, OrderedDict(zip(preactivations, by_matrix, strict=True))


def _mean_std(values: Array | np.ndarray) -> float:
    """[seeds, …] → mean over seeds of the std over all other axes."""
    values = np.asarray(values, np.float64)
    return float(values.reshape(len(values), -1).std(axis=1).mean())


def _rows(movement: Movement, stds: Mapping[int, float], names: tuple[str, str]) -> list[Row]:
    measure, layer, t = movement
    widths, values = np.array(list(stds)), np.array(list(stds.values()))
    status = _status(values)
    slope = float(np.polyfit(np.log(widths), np.log(values), 1)[0]) if status == "moving" else math.nan
    return [
        Row(
            optimizer=names[0],
            parametrization=names[1],
            measure=measure,
            layer=layer,
            t=t,
            width=width,
            std=std,
            slope=slope,
            status=status,
        )
        for width, std in stds.items()
    ]


def _status(stds: np.ndarray) -> str:
    if not stds.any():
        return "still"
    return "moving" if np.all(np.isfinite(stds) & (stds > 0)) else "undefined"


def verdicts(rows: Iterable[Row], tolerance: float) -> list[Verdict]:
    """Holds each movement of `rows` against µP: `stable` means |slope| ≤ tolerance."""
    found = {}
    for row in rows:
        place = (row["optimizer"], row["parametrization"], row["measure"], row["layer"], row["t"])
        moving = "stable" if abs(row["slope"]) <= tolerance else "unstable"
        outcome = moving if row["status"] == "moving" else row["status"]
        found[place] = Verdict(*place, row["slope"], outcome)
    return list(found.values())


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Writes a CSV file under a header of the keys; `read_rows` returns the same rows."""
    with replacing(path) as partial_path, partial_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Row.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Reads what `write_rows` wrote; raises MuloError for other columns and for values of the wrong type."""
    readers: Mapping[str, Any] = Row.__annotations__
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(readers):
            raise MuloError(
                f"{path} is not a coordinate check: its columns are {', '.join(reader.fieldnames or ['missing'])}, "
                f"and these are needed, in this order: {', '.join(readers)}."
            )
        try:
            return [Row(**{key: readers[key](text) for key, text in row.items()}) for row in reader]
        except (KeyError, TypeError, ValueError) as error:
            raise MuloError(f"{path}, line {reader.line_num}: {error}.") from error
