"""The grid of an evaluation: methods × networks × numbers of steps, each run a rollout, finished runs stored."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from mulo.errors import MuloError
from mulo.evaluation.results import RESULTS, SPLITS, curve_names, ordered, read_runs, write_curves
from mulo.evaluation.rollout import Rollout, rollout
from mulo.types import Array, LayeredTask, LearnedOptimizer, Theta


class Run(NamedTuple):
    """One method on one network, for one number of inner steps."""

    method: str
    """Its name, such as `velo_mup` or µLO_M."""
    parametrization: str
    """The network's."""
    task: LayeredTask
    optimizer: LearnedOptimizer
    theta: Theta
    num_steps: int

    def labelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with the columns that identify this run."""
        sizes = {"width": self.task.width, "depth": self.task.depth, "num_steps": self.num_steps}
        names = {"method": self.method, "parametrization": self.parametrization, "task": self.task.architecture}
        return rows.assign(**names, **sizes)

    @property
    def key(self) -> str:
        """Under which the run's curves are stored."""
        return curve_names(self.labelled(pd.DataFrame(index=[0])))[0]


class StoredRuns:
    """Results and curves of a grid in a folder; stored runs are not computed again.

    Beside each training curve [seeds, num_steps] `curves.npz` holds `<key>/test`, the test loss on the way
    [seeds, points], and `<key>/test_steps` [points]. A run that failed has rows that say so and no curves: it is tried
    again at the next start.
    """

    def __init__(self, folder: Path, data: str, meta_seed: int) -> None:
        self.path, self._curves_path = folder / "results.csv", folder / "curves.npz"
        self._job = {"data": data, "meta_seed": meta_seed}
        self.results = RESULTS.empty()
        self._curves: dict[str, np.ndarray] = {}
        if self.path.exists() and self._curves_path.exists():
            # The table is written first: rows without curves are those of a run whose writing was cut off, or failed.
            results, self._curves = read_runs(folder, data, meta_seed)
            self.results = results[curve_names(results).isin(list(self._curves))]

    def __len__(self) -> int:
        """How many runs are done."""
        return len(self._curves) // 3

    def has(self, run: Run) -> bool:
        """Whether the run is done."""
        return run.key in self._curves

    def add(self, run: Run, outcome: Rollout) -> None:
        """Appends a run's seeds and writes both files."""
        key = run.key
        self._curves |= {key: outcome.curve, f"{key}/test": outcome.test_curve, f"{key}/test_steps": outcome.test_steps}
        self._append(run, outcome.rows())
        write_curves(self._curves, self._curves_path)

    def add_failure(self, run: Run, seeds: int, reason: str) -> None:
        """Appends rows with the reason why the run has no result."""
        rows = pd.MultiIndex.from_product([range(seeds), SPLITS], names=["seed", "split"]).to_frame(index=False)
        self._append(run, rows.assign(loss=np.nan, status=f"failed({reason})"))

    def _append(self, run: Run, rows: pd.DataFrame) -> None:
        more = ordered(run.labelled(rows).assign(**self._job))
        self.results = pd.concat([self.results, more], ignore_index=True) if len(self.results) else more
        RESULTS.write(self.results, self.path)


def run_grid(
    runs: Sequence[Run],
    seeds: int,
    key: Array,
    stored: StoredRuns,
    on_progress: Callable[[int, float], None],
    stop_requested: Callable[[], bool],
    mesh: Mesh | None = None,
    test_points: int = 1,
    on_failure: Callable[[Run, str], None] = lambda run, reason: None,
) -> bool:
    """Computes the runs that are not stored, in order.

    A run that fails, most often for want of memory, is stored as failed and the others go on.

    Args:
        runs: what to compute.
        seeds: networks per run.
        key: the same for all runs, so that methods have the same initializations and minibatches.
        stored: filled run by run.
        on_progress: called with the steps done over all runs and the current loss.
        stop_requested: asked after every run.
        mesh: devices that share each network; None: the default device alone.
        test_points: how often the test loss is measured in a training.
        on_failure: called with a run that failed and why.

    Returns:
        Whether all runs are done.
    """
    before = 0
    for index, run in enumerate(runs):
        if not stored.has(run):

            def after(done: int, loss: float, before: int = before) -> None:
                on_progress(before + done, loss)

            compute = partial(rollout, on_progress=after, mesh=mesh, test_points=test_points, seeds=seeds, key=key)
            try:
                stored.add(run, compute(run.task, run.optimizer, run.theta, num_steps=run.num_steps))
            except (jax.errors.JaxRuntimeError, MemoryError, MuloError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                stored.add_failure(run, seeds, reason)
                on_failure(run, reason)
        before += run.num_steps
        if stop_requested() and index + 1 < len(runs):
            return False
    return True
