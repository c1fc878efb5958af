"""The grid of an evaluation: contestants × networks × horizons, each cell a rollout, finished cells kept on disk."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mulo.errors import MuloError
from mulo.evaluation.results import CurveKey, Result, read_csv, read_curves, write_csv, write_curves
from mulo.evaluation.rollout import Rollout, rollout
from mulo.types import Array, LayeredTask, LearnedOptimizer, Theta


class Cell(NamedTuple):
    """One contestant on one network, for one number of inner steps."""

    name: str
    """The contestant's, such as `velo_mup` or µLO_M."""
    parametrization: str
    """The network's."""
    task: LayeredTask
    optimizer: LearnedOptimizer
    theta: Theta
    steps: int

    @property
    def key(self) -> str:
        """Under which the cell's curves are kept."""
        return str(CurveKey(self.name, self.parametrization, self.task.width, self.task.depth, self.steps))


class Record:
    """Results and curves of a grid in a folder; what is there already is not computed again.

    Beside each training curve [seeds, steps] `curves.npz` holds `<key>/test`, the test loss on the way
    [seeds, points], and `<key>/test_steps` [points]. A cell that failed has rows that say so and no curves: it is tried
    again at the next start.
    """

    def __init__(self, folder: Path) -> None:
        self.results_path, self._curves_path = folder / "results.csv", folder / "curves.npz"
        found = self.results_path.exists() and self._curves_path.exists()
        self._arrays: dict[str, np.ndarray] = read_curves(self._curves_path) if found else {}
        # The table is written first: rows without curves are those of a cell whose writing was cut off, or that failed.
        rows = read_csv(self.results_path) if found else []
        self.results = [row for row in rows if row.key in self._arrays]

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Training curves [seeds, steps] by the cells' keys."""
        return {key: curve for key, curve in self._arrays.items() if not key.endswith(("/test", "/test_steps"))}

    def has(self, cell: Cell) -> bool:
        """Whether the cell is done."""
        return cell.key in self._arrays

    def add(self, cell: Cell, outcome: Rollout) -> None:
        """Appends a cell's seeds and writes both files."""
        key = cell.key
        self._arrays |= {key: outcome.curve, f"{key}/test": outcome.test_curve, f"{key}/test_steps": outcome.test_steps}
        self.results += [_result(cell, outcome, seed) for seed in range(len(outcome.curve))]
        write_csv(self.results, self.results_path)
        write_curves(self._arrays, self._curves_path)

    def add_failure(self, cell: Cell, seeds: int, reason: str) -> None:
        """Appends rows that say why the cell has no result."""
        row = _row(cell, 0, np.nan, np.nan, f"failed({reason})")
        self.results += [row._replace(seed=seed) for seed in range(seeds)]
        write_csv(self.results, self.results_path)


def _result(cell: Cell, outcome: Rollout, seed: int) -> Result:
    train, test = float(outcome.train_loss[seed]), float(outcome.test_loss[seed])
    return _row(cell, seed, train, test, outcome.status(seed))


def _row(cell: Cell, seed: int, train: float, test: float, status: str) -> Result:
    task = cell.task
    head = cell.name, cell.parametrization, task.architecture, task.width, task.depth, cell.steps
    return Result(*head, seed, train, test, status)


def _progress_after(before: int, on_progress: Callable[[int, float], None], done: int, loss: float) -> None:
    on_progress(before + done, loss)


def run_grid(
    cells: Sequence[Cell],
    seeds: int,
    key: Array,
    record: Record,
    on_progress: Callable[[int, float], None],
    stop_requested: Callable[[], bool],
    mesh: Mesh | None = None,
    test_points: int = 1,
    on_failure: Callable[[Cell, str], None] = lambda cell, reason: None,
) -> bool:
    """Runs the cells that the record lacks, in order.

    What fails to compile or to run, most often for want of memory, is a result of its cell and leaves the others be.

    Args:
        cells: what to run.
        seeds: networks per cell.
        key: the same for all cells, so that contestants meet the same initializations and minibatches.
        record: filled cell by cell.
        on_progress: called with the steps done over all cells and the current loss.
        stop_requested: asked after every cell.
        mesh: devices that share each network; None: the default device alone.
        test_points: how often the test loss is measured in a training.
        on_failure: told of a cell that failed and why.

    Returns:
        Whether all cells have been run.
    """
    before = 0
    for index, cell in enumerate(cells):
        if not record.has(cell):
            told = partial(_progress_after, before, on_progress)
            run = partial(rollout, cell.task, cell.optimizer, cell.theta, num_steps=cell.steps, seeds=seeds, key=key)
            try:
                record.add(cell, run(on_progress=told, mesh=mesh, test_points=test_points))
            except (jax.errors.JaxRuntimeError, MemoryError, MuloError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                record.add_failure(cell, seeds, reason)
                on_failure(cell, reason)
        before += cell.steps
        if stop_requested() and index + 1 < len(cells):
            return False
    return True
