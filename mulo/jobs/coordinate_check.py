"""mode=coordinate_check: do pre-activations change by the same amounts at every width, or at every depth?"""

from pathlib import Path

import pandas as pd
from rich.console import Console

from mulo import randomness
from mulo.config import Config, TaskBase
from mulo.evaluation import coordinate_check as check
from mulo.evaluation.coordinate_rows import CHANGES, PROMISES, verdicts
from mulo.jobs.context import JobContext
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import CHECK, JobFolder
from mulo.jobs.networks import dataset_of
from mulo.optimizers import with_state_dtype
from mulo.reporting.progress import progress
from mulo.reporting.record import write_up_job
from mulo.tasks import SupervisedTask, make_tasks
from mulo.types import Dataset, Theta


def coordinate_check(job: JobContext, theta: Theta) -> int:
    """Measures, writes coordinate_check.csv and the figure; returns 1 if what is promised does not hold, else 0."""
    config, folder, console = job.config, job.folder, job.console
    fresh = not (config.checkpoint or config.reference or config.meta_trains)
    if fresh and config.optimizer.learned:
        console.print("No checkpoint is given: the check runs under a fresh θ, for which µP promises nothing.")
    config = config.evaluated
    settings, part = config.coordinate_check, config.task.parts[0]
    dataset = dataset_of(config, part)
    tasks = _tasks(config, part, dataset)
    inputs, _ = dataset.fixed(dataset.arrays, "test", part.batch_size)
    with progress("coordinate check", len(tasks) * max(settings.times), 0) as bar:
        changes = check.coordinate_check(
            tasks,
            with_state_dtype(config.optimizer, config.state_dtype),
            theta,
            inputs,
            times=settings.times,
            seeds=settings.seeds,
            key=randomness.branch(randomness.root(config.seed), "coordinate check"),
            names=(config.method, config.parametrization),
            over=settings.over,
            on_step=bar.update,
        )
    CHANGES.write(changes, folder / CHECK)
    record = gather([JobFolder(folder, job.config)])
    for name in write_up_job(record, folder, console):
        job.mirror.picture(name, folder / f"{name}.png")
    return _verdict(config, changes, folder, console)


def _tasks(config: Config, part: TaskBase, dataset: Dataset) -> list[SupervisedTask]:
    widths = config.coordinate_check.widths if config.coordinate_check.over == "width" else None
    return make_tasks(part, config.parametrization, dataset, widths, config.coordinate_check.depths)


def _verdict(config: Config, changes: pd.DataFrame, folder: Path, console: Console) -> int:
    over = config.coordinate_check.over
    failed = verdicts(changes, config.coordinate_check.tolerance).query("failed")
    for row in failed.itertuples():
        layer = f"{row.measure}, layer {row.layer}, t = {row.t}"
        console.print(f"{layer}: slope {row.slope:+.2f} ({row.outcome})", highlight=False)
    console.print(f"Table and figure are in {folder}.", soft_wrap=True)
    return int(len(failed) > 0 and config.parametrization in PROMISES[over])
