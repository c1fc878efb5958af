"""mode=evaluate: a θ beside its SP twin and Adam, on widths inside and beyond its meta-training range."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mulo import checkpoint, randomness
from mulo.config import Config, TaskBase, TaskConfig, parse_group
from mulo.errors import Interrupted
from mulo.evaluation.grid import Cell, Record, run_grid
from mulo.evaluation.model_devices import model_mesh
from mulo.evaluation.results import CurveKey, Summary, summarize
from mulo.jobs.contestants import dataset_of, evaluated, widths
from mulo.jobs.context import JobContext
from mulo.optimizers import with_state_dtype
from mulo.reporting import plots
from mulo.reporting.labels import label, label_of_family
from mulo.reporting.progress import progress
from mulo.reporting.tables import print_results
from mulo.types import LayeredTask, Theta

ThetaOf = Callable[[LayeredTask], Theta]
"""Which θ trains a network: nearly always the same one, of a baseline the one tuned for it."""


def trained_widths(config: Config, part: TaskBase) -> list[int]:
    """The widths of this architecture that θ was meta-trained on; none for a baseline."""
    task: TaskConfig = config.task
    if config.mode != "main":
        if config.checkpoint is None:
            return []
        task = parse_group("task", checkpoint.read_meta(config.checkpoint).config["task"])
    return [width for own in task.parts if own.architecture == part.architecture for width in own.all_widths]


def evaluate(job: JobContext, theta_of: ThetaOf) -> None:
    """Runs the grid, prints the table, writes results.csv, curves.npz and both figures into the job's folder.

    Several architectures have a folder each inside it.

    Raises:
        Interrupted: a stop was requested; finished cells are kept.
    """
    parts, cells = job.config.evaluated.task.parts, _cells(job.config, theta_of)
    for part in parts:
        place = job.folder if len(parts) == 1 else job.folder / part.architecture
        record = Record(place)
        own = [cell for cell in cells if cell.task.architecture == part.architecture]
        if not _run(job, own, record):
            raise Interrupted(
                int(job.stop.signal_number or 0),
                f"Stopped; {len(record.curves)} trainings are kept in {place}. The same command goes on from there.",
            )
        _report(replace(job, folder=place), part, record)


def _run(job: JobContext, cells: Sequence[Cell], record: Record) -> bool:
    settings, console = job.config.evaluation, job.console
    mesh = model_mesh(settings.model_devices)
    console.print(f"Evaluating {_said(cells, settings.seeds)}{_shared(settings.model_devices)}.")

    def warn(cell: Cell, reason: str) -> None:
        console.print(f"{label(cell.name)} on {cell.task.name} failed: {reason}. The others go on.", highlight=False)

    with progress("evaluation", sum(cell.steps for cell in cells), 0, "loss") as bar:
        key = randomness.branch(randomness.root(settings.seed), "evaluation")
        points = settings.test_points
        return run_grid(cells, settings.seeds, key, record, bar.update, job.stop.requested, mesh, points, warn)


def _said(cells: Sequence[Cell], seeds: int) -> str:
    """What the grid consists of, such as `velo_mup, adamw on MLP of widths [64, 128], 200 steps, 3 seeds`."""

    def each(values: list[Any]) -> str:
        found = list(dict.fromkeys(values))
        return str(found[0]) if len(found) == 1 else str(found)

    names = ", ".join(dict.fromkeys(cell.name for cell in cells))
    tasks = [cell.task for cell in cells]
    sizes = f"widths {each([task.width for task in tasks])}, depths {each([task.depth for task in tasks])}"
    steps = each([cell.steps for cell in cells])
    return f"{names} on {label_of_family(tasks[0].architecture)} of {sizes}, {steps} steps, {seeds} seeds"


def _shared(devices: int) -> str:
    return f", each network on {devices} devices" if devices > 1 else ""


def _cells(config: Config, theta_of: ThetaOf) -> list[Cell]:
    settings, cells = config.evaluation, []
    known: list[ThetaOf] = [theta_of]
    if settings.sp_twin is not None:
        twin = checkpoint.load(settings.sp_twin).theta
        known.append(lambda task: twin)
    for index, (chosen, tasks) in enumerate(evaluated(config)):
        optimizer = with_state_dtype(chosen, config.state_dtype)
        # A baseline's θ holds its settings.
        fixed = None if index < len(known) else optimizer.init(randomness.root(0))
        name = config.contestant if index == 0 else chosen.name
        for steps in settings.all_horizons:
            for task in tasks:
                theta = known[index](task) if fixed is None else fixed
                cells.append(Cell(name, task.parametrization, task, optimizer, theta, steps))
    return cells


def _report(job: JobContext, part: TaskBase, record: Record) -> None:
    summaries = summarize(record.results)
    print_results(summaries, job.console)
    several, groups = len(job.config.evaluated.task.parts) > 1, _groups(summaries)
    for (depth, steps), members in groups.items():
        suffix = "" if len(groups) == 1 else f"_d{depth}_n{steps}"
        _draw(job, part, members, record, suffix)
        for name in ("loss_over_width", "curves"):
            sent = f"{name}{suffix}/{part.architecture}" if several else f"{name}{suffix}"
            job.mirror.picture(sent, job.folder / f"{name}{suffix}.png")
    job.console.print(f"Results: {record.results_path}, figures beside it.", soft_wrap=True)


def _groups(summaries: Sequence[Summary]) -> dict[tuple[int, int], list[Summary]]:
    """One picture shows one depth and one number of steps."""
    groups: dict[tuple[int, int], list[Summary]] = {}
    for summary in summaries:
        groups.setdefault((summary.depth, summary.steps), []).append(summary)
    return groups


def _draw(job: JobContext, part: TaskBase, summaries: Sequence[Summary], record: Record, suffix: str) -> None:
    config, folder = job.config, job.folder
    depth, steps = summaries[0].depth, summaries[0].steps
    what, on = label_of_family(part.architecture), dataset_of(config.evaluated, part).name
    title = f"{what}, depth {depth}, {steps} steps on {on}"
    plots.loss_over_width(summaries, folder / f"loss_over_width{suffix}", trained_widths(config, part), title)
    largest = max(widths(config.evaluated, part))
    at_largest = {
        key: curve for key, curve in record.curves.items() if CurveKey.parse(key)[2:] == (largest, depth, steps)
    }
    if at_largest:
        plots.curves(at_largest, folder / f"curves{suffix}", f"{title}, width {largest}")
