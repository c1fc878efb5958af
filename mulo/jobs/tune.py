"""mode=main of a baseline: its settings are tuned where θ of a learned optimizer would be meta-trained."""

import csv
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mulo import randomness
from mulo.config import Config
from mulo.errors import Interrupted, MuloError
from mulo.evaluation.tuning import Settings, Trial, best, combinations, theta_of, try_settings
from mulo.files import replacing
from mulo.jobs.contestants import tuned_width, tuning_of
from mulo.jobs.context import JobContext
from mulo.jobs.evaluate import ThetaOf
from mulo.optimizers import with_state_dtype
from mulo.reporting.progress import progress
from mulo.types import LayeredTask

Place = tuple[str, int]
"""Architecture and width on which settings are compared."""


def tune(job: JobContext) -> ThetaOf:
    """Tries the grid on every architecture that is evaluated, writes tuning.csv, and returns the θ of each network.

    Settings that the file holds are not tried again.

    Raises:
        Interrupted: a stop was requested; what was tried is kept.
        MuloError: every setting diverged.
    """
    config, console = job.config, job.console
    log = TuningLog(job.folder / "tuning.csv")
    grid = combinations(config.optimizer.grid(config.tuning.grid))
    tasks = tuning_of(config).tasks
    console.print(f"Tuning {config.contestant}: {len(grid)} settings on {', '.join(task.name for task in tasks)}.")
    found = {}
    for task in tasks:
        _try_all(job, task, grid, log)
        found[task.architecture, task.width] = chosen = best(log.trials[task.architecture, task.width])
        if not math.isfinite(chosen.loss):
            raise MuloError(f"Every one of the {len(grid)} settings of tuning.grid diverged on {task.name}.")
        said = ", ".join(f"{name} {value:g}" for name, value in chosen.settings.items())
        console.print(f"Best on {task.name}: {said}, training loss {chosen.loss:.4f}.", highlight=False)
    return lambda network: theta_of(found[_place(config, network)].settings)


def _place(config: Config, network: LayeredTask) -> Place:
    if config.tuning.each_width:
        return network.architecture, network.width
    part = next(part for part in config.evaluated.task.parts if part.architecture == network.architecture)
    return network.architecture, tuned_width(config, part)


def _try_all(job: JobContext, task: LayeredTask, grid: Sequence[Settings], log: "TuningLog") -> None:
    config, stop = job.config, job.stop
    own, optimizer = config.tuning, with_state_dtype(config.optimizer, config.state_dtype)
    key = randomness.branch(randomness.root(config.seed), "tuning")
    done = [trial.settings for trial in log.trials.get((task.architecture, task.width), [])]
    missing = [settings for settings in grid if settings not in done]
    batches = [missing[i : i + own.settings_at_once] for i in range(0, len(missing), own.settings_at_once)]
    with progress(f"tuning on {task.name}", len(batches) * own.steps, 0, "mean loss") as bar:
        for index, batch in enumerate(batches):

            def told(steps: int, loss: float, before: int = index * own.steps) -> None:
                bar.update(before + steps, loss)

            run = partial(try_settings, task, optimizer, batch, num_steps=own.steps, seeds=own.seeds)
            log.add(task, run(key=key, on_progress=told))
            if stop.requested():
                raise Interrupted(int(stop.signal_number or 0), f"Stopped; what was tried is kept in {log.path}.")


class TuningLog:
    """tuning.csv: one row per setting and network, in the order tried."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials: dict[Place, list[Trial]] = {}
        for row in _rows(path):
            place = str(row.pop("task")), int(row.pop("width"))
            loss = float(row.pop("train_loss"))
            settings = {name: float(value) for name, value in row.items()}
            self.trials.setdefault(place, []).append(Trial(settings, loss))

    def add(self, task: LayeredTask, trials: Sequence[Trial]) -> None:
        """Appends trials on one network and writes the file."""
        self.trials.setdefault((task.architecture, task.width), []).extend(trials)
        rows = [
            {"task": architecture, "width": width, **trial.settings, "train_loss": trial.loss}
            for (architecture, width), own in self.trials.items()
            for trial in own
        ]
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
