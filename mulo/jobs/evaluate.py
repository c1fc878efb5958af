"""mode=evaluate: θ, its SP twin and baselines on widths inside and beyond the meta-training range."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mulo import checkpoint, randomness
from mulo.config import Config
from mulo.errors import Interrupted
from mulo.evaluation.grid import Run, StoredRuns, run_grid
from mulo.evaluation.model_devices import model_mesh
from mulo.jobs.context import JobContext
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import JobFolder
from mulo.jobs.networks import evaluated
from mulo.optimizers import Optimizer, fresh_theta, with_state_dtype
from mulo.reporting.labels import label, label_of_family
from mulo.reporting.progress import progress
from mulo.reporting.record import write_up_job
from mulo.types import LayeredTask, Theta


class Prepared(NamedTuple):
    """An optimizer that is ready to train a network."""

    optimizer: Optimizer
    theta: Theta


PreparedFor = Callable[[LayeredTask], Prepared]
"""The job's optimizer for a network: the same for all, or the one tuned for it."""


def evaluate(job: JobContext, prepared_for: PreparedFor) -> None:
    """Runs the grid, prints its tables, writes results.csv, curves.npz and both figures into the job's folder.

    Several architectures have a folder each inside it.

    Raises:
        Interrupted: a stop was requested; finished runs are kept.
    """
    config, folder, console, stop = job.config, job.folder, job.console, job.stop
    parts, runs = config.evaluated.task.parts, _runs(config, prepared_for)
    for part in parts:
        into = folder if len(parts) == 1 else folder / part.architecture
        stored = StoredRuns(into, config.evaluated.data_of(part).name, config.seed)
        if not _run(job, [run for run in runs if run.task.architecture == part.architecture], stored):
            raise Interrupted(
                int(stop.signal_number or 0),
                f"Stopped; {len(stored)} runs are saved in {into}. The same command continues from there.",
            )
        record = gather([JobFolder(folder.parent if config.mode == "main" else folder, config)])
        of_part = replace(record, results=record.results[record.results.task == part.architecture])
        for name in write_up_job(of_part, into, console):
            job.mirror.picture(name if len(parts) == 1 else f"{name}/{part.architecture}", into / f"{name}.png")
        console.print(f"Results: {stored.path}, figures beside it.", soft_wrap=True)


def _run(job: JobContext, runs: Sequence[Run], stored: StoredRuns) -> bool:
    settings, console = job.config.evaluation, job.console
    mesh = model_mesh(settings.model_devices)
    shared = f", each network on {settings.model_devices} devices" if settings.model_devices > 1 else ""
    console.print(f"Evaluating {_in_words(runs, settings.seeds)}{shared}.")

    def warn(run: Run, reason: str) -> None:
        console.print(
            f"{label(run.method)} on {run.task.name} failed: {reason}. The other runs continue.", highlight=False
        )

    with progress("evaluation", sum(run.num_steps for run in runs), 0, "loss") as bar:
        key = randomness.branch(randomness.root(settings.seed), "evaluation")
        points = settings.test_points
        return run_grid(runs, settings.seeds, key, stored, bar.update, job.stop.requested, mesh, points, warn)


def _in_words(runs: Sequence[Run], seeds: int) -> str:
    """What the grid consists of, such as `velo_mup, adamw on MLP of widths [64, 128], 200 steps, 3 seeds`."""

    def each(values: list[Any]) -> str:
        different = list(dict.fromkeys(values))
        return str(different[0]) if len(different) == 1 else str(different)

    names = ", ".join(dict.fromkeys(run.method for run in runs))
    tasks = [run.task for run in runs]
    sizes = f"widths {each([task.width for task in tasks])}, depths {each([task.depth for task in tasks])}"
    steps = each([run.num_steps for run in runs])
    return f"{names} on {label_of_family(tasks[0].architecture)} of {sizes}, {steps} steps, {seeds} seeds"


def _runs(config: Config, prepared_for: PreparedFor) -> list[Run]:
    runs = []
    for index, (chosen, tasks) in enumerate(evaluated(config)):
        of = prepared_for if index == 0 else _as_configured(config, chosen, index - config.shows_theta0)
        name = config.method if index == 0 else chosen.name
        for num_steps in config.evaluation.all_horizons:
            for task in tasks:
                optimizer, theta = of(task)
                trains = with_state_dtype(optimizer, config.state_dtype)
                runs.append(Run(name, task.parametrization.name, task, trains, theta, num_steps))
    return runs


def _as_configured(config: Config, optimizer: Optimizer, index: int) -> PreparedFor:
    """With θ of the SP twin, the first one but for θ0; else with a fresh θ, which of a baseline holds its settings."""
    path = config.evaluation.sp_twin if index == 1 else None
    theta = checkpoint.load(path).theta if path is not None else fresh_theta(optimizer, config.seed)
    return lambda task: Prepared(optimizer, theta)
