"""The grid of an evaluation: contestants × widths, each cell a rollout, finished cells kept on disk."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from mulo.evaluation.results import Result, curve_key, read_csv, read_curves, write_csv, write_curves
from mulo.evaluation.rollout import Rollout, rollout
from mulo.types import Array, LayeredTask, LearnedOptimizer, Theta


class Cell(NamedTuple):
    """One contestant on one network."""

    name: str
    """The contestant's, as in `optimizer=<name>`."""
    parametrization: str
    """The network's."""
    task: LayeredTask
    optimizer: LearnedOptimizer
    theta: Theta

    @property
    def key(self) -> str:
        """Under which the cell's curves are kept."""
        return curve_key(self.name, self.parametrization, self.task.width)


class Record:
    """Results and curves of a grid in a folder; what is there already is not computed again."""

    def __init__(self, folder: Path) -> None:
        self.results_path, self._curves_path = folder / "results.csv", folder / "curves.npz"
        found = self.results_path.exists() and self._curves_path.exists()
        self.curves: dict[str, np.ndarray] = read_curves(self._curves_path) if found else {}
        # The table is written first: rows without curves are those of a cell whose writing was cut off.
        rows = read_csv(self.results_path) if found else []
        self.results = [row for row in rows if curve_key(row.optimizer, row.parametrization, row.width) in self.curves]

    def has(self, cell: Cell) -> bool:
        """Whether the cell is done."""
        return cell.key in self.curves

    def add(self, cell: Cell, outcome: Rollout) -> None:
        """Appends a cell's seeds and writes both files."""
        self.curves[cell.key] = outcome.curve
        self.results += [_result(cell, outcome, seed) for seed in range(len(outcome.curve))]
        write_csv(self.results, self.results_path)
        write_curves(self.curves, self._curves_path)


def _result(cell: Cell, outcome: Rollout, seed: int) -> Result:
    train, test = float(outcome.train_loss[seed]), float(outcome.test_loss[seed])
    steps, status = outcome.curve.shape[1], outcome.status(seed)
    task = cell.task
    return Result(
        cell.name, cell.parametrization, task.family, task.width, task.depth, steps, seed, train, test, status
    )


def _progress_after(before: int, on_progress: Callable[[int, float], None], done: int, loss: float) -> None:
    on_progress(before + done, loss)


def run_grid(
    cells: Sequence[Cell],
    steps: int,
    seeds: int,
    key: Array,
    record: Record,
    on_progress: Callable[[int, float], None],
    stop_requested: Callable[[], bool],
    mesh: Mesh | None = None,
) -> bool:
    """Runs the cells that the record lacks, in order.

    Args:
        cells: what to run.
        steps: inner steps of each.
        seeds: networks per cell.
        key: the same for all cells, so that contestants meet the same initializations and minibatches.
        record: filled cell by cell.
        on_progress: called with the steps done over all cells and the current loss.
        stop_requested: asked after every cell.
        mesh: devices that share each network; None: the default device alone.

    Returns:
        Whether all cells are done.
    """
    for index, cell in enumerate(cells):
        if not record.has(cell):
            before = index * steps
            outcome = rollout(
                cell.task,
                cell.optimizer,
                cell.theta,
                steps,
                seeds,
                key,
                partial(_progress_after, before, on_progress),
                mesh,
            )
            record.add(cell, outcome)
        if stop_requested() and index + 1 < len(cells):
            return False
    return True
