"""mode=evaluate: a θ beside its SP twin and Adam, on widths inside and beyond its meta-training range."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mulo import checkpoint, randomness
from mulo.config import Config, TaskBase, TaskConfig, parse_group
from mulo.errors import Interrupted
from mulo.evaluation.grid import Cell, Record, run_grid
from mulo.evaluation.model_devices import model_mesh
from mulo.evaluation.results import summarize
from mulo.jobs.contestants import dataset_of, evaluated, widths
from mulo.jobs.stopping import Stop
from mulo.optimizers import make_optimizer
from mulo.reporting import plots
from mulo.reporting.labels import label_of_family
from mulo.reporting.progress import progress
from mulo.reporting.tables import print_results
from mulo.reporting.wandb_mirror import WandbMirror
from mulo.types import Theta


def trained_widths(config: Config, part: TaskBase) -> list[int]:
    """The widths of this architecture that θ was meta-trained on; none for a baseline."""
    if config.mode == "main":
        return part.all_widths
    if config.checkpoint is None:
        return []
    task: TaskConfig = parse_group("task", checkpoint.read_meta(config.checkpoint).config["task"])
    return [width for own in task.parts if own.family == part.family for width in own.all_widths]


def evaluate(config: Config, theta: Theta, folder: Path, console: Console, mirror: WandbMirror, stop: Stop) -> None:
    """Runs the grid, prints the table, writes results.csv, curves.npz and both figures into `folder`.

    Several architectures have a folder each inside it.

    Raises:
        Interrupted: a stop was requested; finished cells are kept.
    """
    parts, cells = config.task.parts, _cells(config, theta)
    for part in parts:
        place = folder if len(parts) == 1 else folder / part.family
        record = Record(place)
        own = [cell for cell in cells if cell.task.family == part.family]
        if not _run(config, part, own, record, console, stop):
            raise Interrupted(
                int(stop.signal_number or 0),
                f"Stopped; {len(record.curves)} trainings are kept in {place}. The same command goes on from there.",
            )
        _report(config, part, record, place, console, mirror)


def _run(config: Config, part: TaskBase, cells: Sequence[Cell], record: Record, console: Console, stop: Stop) -> bool:
    settings = config.evaluation
    mesh = model_mesh(settings.model_devices)
    names = ", ".join(dict.fromkeys(cell.name for cell in cells))
    over = f", each network on {settings.model_devices} devices" if mesh else ""
    sizes = f"widths {widths(config, part)}, {settings.steps} steps, {settings.seeds} seeds{over}"
    console.print(f"Evaluating {names} on {label_of_family(part.family)} of {sizes}.")
    with progress("evaluation", len(cells) * settings.steps, 0, "loss") as bar:
        key = randomness.branch(randomness.root(config.seed), "evaluation")
        return run_grid(cells, settings.steps, settings.seeds, key, record, bar.update, stop.requested, mesh)


def _cells(config: Config, theta: Theta) -> list[Cell]:
    settings, cells = config.evaluation, []
    thetas = [theta] + ([] if settings.sp_twin is None else [checkpoint.load(settings.sp_twin).theta])
    for chosen, tasks in evaluated(config):
        optimizer = make_optimizer(chosen, config.state_dtype)
        # A baseline's θ holds its settings.
        weights = thetas.pop(0) if thetas else optimizer.init(randomness.root(0))
        cells += [Cell(chosen.name, task.parametrization, task, optimizer, weights) for task in tasks]
    return cells


def _report(
    config: Config, part: TaskBase, record: Record, folder: Path, console: Console, mirror: WandbMirror
) -> None:
    summaries, largest = summarize(record.results), max(widths(config, part))
    print_results(summaries, console)
    what, on = label_of_family(part.family), dataset_of(config, part).name
    title = f"{what}, depth {part.depth}, {config.evaluation.steps} steps on {on}"
    plots.loss_over_width(summaries, folder / "loss_over_width", trained_widths(config, part), title)
    at_largest = {key: curve for key, curve in record.curves.items() if key.endswith(f"/w{largest}")}
    plots.curves(at_largest, folder / "curves", f"{title}, width {largest}")
    several = len(config.task.parts) > 1
    for name in ("loss_over_width", "curves"):
        mirror.picture(f"{name}/{part.family}" if several else name, folder / f"{name}.png")
    console.print(f"Results: {record.results_path}, figures beside it.", soft_wrap=True)
