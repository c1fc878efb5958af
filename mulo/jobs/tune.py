"""Tuning in mode=main: of a baseline, which has no θ to be meta-trained, or of a learned optimizer with its θ."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mulo import randomness
from mulo.config import Config
from mulo.errors import Interrupted, MuloError
from mulo.evaluation.results import RESULTS
from mulo.evaluation.tuning import Settings, as_text, baseline_theta, best, combinations, try_settings
from mulo.jobs.context import JobContext
from mulo.jobs.evaluate import Prepared, PreparedFor
from mulo.jobs.networks import tuned_width, tuning_of
from mulo.optimizers import Optimizer, with_state_dtype
from mulo.optimizers.tuned import Tuned
from mulo.reporting.progress import progress
from mulo.types import LayeredTask, Theta

Try = Callable[..., pd.DataFrame]
"""`try_settings` of the job's optimizer."""


def tune(job: JobContext, theta: Theta | None = None) -> PreparedFor:
    """Tries the grid on every architecture that is evaluated, writes tuning.csv, and returns the best of each network.

    Settings that the file holds are not tried again. `theta` is that of a learned optimizer.

    Raises:
        Interrupted: a stop was requested; trials are stored.
        MuloError: every setting diverged.
    """
    config, console = job.config, job.console
    grid = combinations(config.grid)
    log, names = TrialLog(job.folder / "tuning.csv", config, list(grid[0])), list(grid[0])
    tasks, try_ = tuning_of(config).tasks, _try_of(config, theta)
    console.print(f"Tuning {config.method}: {len(grid)} settings on {', '.join(task.name for task in tasks)}.")
    chosen: dict[tuple[str, int], Prepared] = {}
    for task in tasks:
        _try_all(job, task, grid, log, try_)
        settings, loss = best(log.of(task), names)
        if not math.isfinite(loss):
            raise MuloError(f"All {len(grid)} settings of tuning.grid diverged on {task.name}.")
        values = ", ".join(f"{name} {value:g}" for name, value in settings.items())
        console.print(f"Best on {task.name}: {values}, training loss {loss:.4f}.", highlight=False)
        chosen[task.architecture, task.width] = _prepared(config.optimizer, theta, settings)
    return lambda network: chosen[network.architecture, _tuned_on(config, network)]


def _try_of(config: Config, theta: Theta | None) -> Try:
    tuning, key = config.tuning, randomness.branch(randomness.root(config.seed), "tuning")
    run = partial(try_settings, num_steps=tuning.num_steps, seeds=tuning.seeds, key=key)
    if not config.optimizer.learned:
        return partial(run, optimizer=with_state_dtype(config.optimizer, config.state_dtype))
    return partial(run, optimizer=Tuned(config.optimizer, config.state_dtype), theta_of=partial(Tuned.theta, theta))


def _prepared(optimizer: Optimizer, theta: Theta | None, settings: Settings) -> Prepared:
    """A baseline's settings are its θ."""
    if not optimizer.learned:
        return Prepared(optimizer, baseline_theta(settings))
    changes: Any = settings
    return Prepared(replace(optimizer, **changes), theta)


def _tuned_on(config: Config, network: LayeredTask) -> int:
    """The width on which the settings of a network are compared."""
    if config.tuning.each_width:
        return network.width
    part = next(part for part in config.evaluated.task.parts if part.architecture == network.architecture)
    return tuned_width(config, part)


def _try_all(job: JobContext, task: LayeredTask, grid: Sequence[Settings], log: "TrialLog", try_: Try) -> None:
    tuning, stop = job.config.tuning, job.stop
    done = log.of(task)[list(grid[0])].to_dict("records")
    missing = [settings for settings in grid if as_text(settings) not in done]
    batches = [missing[i : i + tuning.settings_at_once] for i in range(0, len(missing), tuning.settings_at_once)]
    with progress(f"tuning on {task.name}", len(batches) * tuning.num_steps, 0, "mean loss") as bar:
        for index, batch in enumerate(batches):

            def on_progress(steps: int, loss: float, before: int = index * tuning.num_steps) -> None:
                bar.update(before + steps, loss)

            log.add(task, try_(task, settings=batch, on_progress=on_progress))
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
