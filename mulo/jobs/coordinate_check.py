"""mode=coordinate_check: do pre-activations move by the same amounts at every width, or at every depth?"""

from collections import Counter
from pathlib import Path

from rich.console import Console

from mulo import randomness
from mulo.config import Config, TaskBase
from mulo.evaluation import coordinate_check as check
from mulo.evaluation.coordinate_rows import PROMISES
from mulo.jobs.contestants import dataset_of
from mulo.jobs.context import JobContext
from mulo.optimizers import with_state_dtype
from mulo.reporting import plots
from mulo.reporting.labels import label
from mulo.reporting.progress import progress
from mulo.tasks import SupervisedTask, make_tasks
from mulo.types import Dataset, Theta


def coordinate_check(job: JobContext, theta: Theta) -> int:
    """Measures, writes coordinate_check.csv and the figure; returns 1 if what should be still moves, else 0."""
    config, folder, console = job.config, job.folder, job.console
    given = config.checkpoint or config.reference or config.meta_trains
    if not given and config.optimizer.learned:
        console.print("No checkpoint is given: the check runs under a fresh θ, which µP does not hold still.")
    config = config.evaluated
    settings, part = config.coordinate_check, config.task.parts[0]
    dataset = dataset_of(config, part)
    tasks = _tasks(config, part, dataset)
    inputs, _ = dataset.fixed(dataset.arrays, "test", part.batch_size)
    with progress("coordinate check", len(tasks) * max(settings.times), 0) as bar:
        rows = check.coordinate_check(
            tasks,
            with_state_dtype(config.optimizer, config.state_dtype),
            theta,
            inputs,
            times=settings.times,
            seeds=settings.seeds,
            key=randomness.branch(randomness.root(config.seed), "coordinate check"),
            names=(config.optimizer.name, config.parametrization),
            over=settings.over,
            on_step=bar.update,
        )
    check.write_rows(rows, folder / "coordinate_check.csv")
    title = f"{label(config.optimizer.name)}, task in {label(config.parametrization)}"
    plots.coordinate_check(rows, folder / "coordinate_check", title)
    job.mirror.picture("coordinate_check", folder / "coordinate_check.png")
    return _say(config, rows, folder, console)


def _tasks(config: Config, part: TaskBase, dataset: Dataset) -> list[SupervisedTask]:
    widths = config.coordinate_check.widths if config.coordinate_check.over == "width" else None
    return make_tasks(part, config.parametrization, dataset, widths, config.coordinate_check.depths)


def _say(config: Config, rows: list[check.Row], folder: Path, console: Console) -> int:
    tolerance, over = config.coordinate_check.tolerance, config.coordinate_check.over
    found = check.verdicts(rows, tolerance)
    outcomes = Counter(verdict.outcome for verdict in found)
    for verdict in found:
        if verdict.failed:
            where = f"{verdict.measure}, layer {verdict.layer}, t = {verdict.t}"
            console.print(f"{where}: slope {verdict.slope:+.2f} ({verdict.outcome})", highlight=False)
    console.print(
        f"Of {len(found)} movements {outcomes['stable']} have a slope within ±{tolerance:g} over {over}, "
        f"{outcomes['unstable']} have not, {outcomes['still']} stand still, {outcomes['undefined']} cannot be judged. "
        f"Table and figure are in {folder}.",
        soft_wrap=True,
    )
    failed = any(verdict.failed for verdict in found)
    return int(failed and config.parametrization in PROMISES[over])
