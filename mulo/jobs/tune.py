"""mode=main of a baseline: its settings are tuned, as θ of a learned optimizer is meta-trained."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mulo import randomness
from mulo.config import Config
from mulo.errors import Interrupted, MuloError
from mulo.evaluation.results import RESULTS
from mulo.evaluation.tuning import Settings, as_text, baseline_theta, best, combinations, try_settings
from mulo.jobs.context import JobContext
from mulo.jobs.evaluate import ThetaOf
from mulo.jobs.networks import tuned_width, tuning_of
from mulo.optimizers import with_state_dtype
from mulo.reporting.progress import progress
from mulo.types import LayeredTask


def tune(job: JobContext) -> ThetaOf:
    """Tries the grid on every architecture that is evaluated, writes tuning.csv, and returns the θ of each network.

    Settings that the file holds are not tried again.

    Raises:
        Interrupted: a stop was requested; trials are stored.
        MuloError: every setting diverged.
    """
    config, console = job.config, job.console
    grid = combinations(config.optimizer.grid(config.tuning.grid))
    log, names = TrialLog(job.folder / "tuning.csv", config, list(grid[0])), list(grid[0])
    tasks = tuning_of(config).tasks
    console.print(f"Tuning {config.method}: {len(grid)} settings on {', '.join(task.name for task in tasks)}.")
    chosen: dict[tuple[str, int], Settings] = {}
    for task in tasks:
        _try_all(job, task, grid, log)
        settings, loss = best(log.of(task), names)
        if not math.isfinite(loss):
            raise MuloError(f"All {len(grid)} settings of tuning.grid diverged on {task.name}.")
        values = ", ".join(f"{name} {value:g}" for name, value in settings.items())
        console.print(f"Best on {task.name}: {values}, training loss {loss:.4f}.", highlight=False)
        chosen[task.architecture, task.width] = settings
    return lambda network: baseline_theta(chosen[network.architecture, _tuned_on(config, network)])


def _tuned_on(config: Config, network: LayeredTask) -> int:
    """The width on which the settings of a network are compared."""
    if config.tuning.each_width:
        return network.width
    part = next(part for part in config.evaluated.task.parts if part.architecture == network.architecture)
    return tuned_width(config, part)


def _try_all(job: JobContext, task: LayeredTask, grid: Sequence[Settings], log: "TrialLog") -> None:
    config, stop = job.config, job.stop
    tuning, optimizer = config.tuning, with_state_dtype(config.optimizer, config.state_dtype)
    key = randomness.branch(randomness.root(config.seed), "tuning")
    done = log.of(task)[list(grid[0])].to_dict("records")
    missing = [settings for settings in grid if as_text(settings) not in done]
    batches = [missing[i : i + tuning.settings_at_once] for i in range(0, len(missing), tuning.settings_at_once)]
    with progress(f"tuning on {task.name}", len(batches) * tuning.num_steps, 0, "mean loss") as bar:
        for index, batch in enumerate(batches):

            def on_progress(steps: int, loss: float, before: int = index * tuning.num_steps) -> None:
                bar.update(before + steps, loss)

            run = partial(try_settings, task, optimizer, batch, num_steps=tuning.num_steps, seeds=tuning.seeds)
            log.add(task, run(key=key, on_progress=on_progress))
            if stop.requested():
                raise Interrupted(int(stop.signal_number or 0), f"Stopped; what was tried is saved in {log.path}.")


class TrialLog:
    """tuning.csv: a table of results with a row per training and the tried settings as columns, in the order tried."""

    def __init__(self, path: Path, config: Config, names: Sequence[str]) -> None:
        self.path, self._config = path, config
        empty = RESULTS.empty().assign(**{name: pd.Series(dtype=str) for name in names})
        self._trials = RESULTS.read(path, names) if path.exists() else empty

    def of(self, task: LayeredTask) -> pd.DataFrame:
        """The trials on one network."""
        return self._trials[(self._trials.task == task.architecture) & (self._trials.width == task.width)]

    def add(self, task: LayeredTask, trials: pd.DataFrame) -> None:
        """Appends trials on one network and writes the file."""
        config = self._config
        part = next(part for part in config.evaluated.task.parts if part.architecture == task.architecture)
        names = {
            "method": config.method,
            "parametrization": config.evaluated.parametrization,
            "task": task.architecture,
        }
        sizes = {
            "width": task.width,
            "depth": task.depth,
            "num_steps": config.tuning.num_steps,
            "meta_seed": config.seed,
        }
        rows = trials.assign(**names, data=config.evaluated.data_of(part).name, **sizes)
        more = rows[list(self._trials)]
        self._trials = pd.concat([self._trials, more], ignore_index=True) if len(self._trials) else more
        RESULTS.write(self._trials, self.path)
