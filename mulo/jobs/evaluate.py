"""mode=evaluate: a θ beside its SP twin and Adam, on widths inside and beyond its meta-training range."""

from pathlib import Path

from rich.console import Console

from mulo import checkpoint, randomness
from mulo.config import Config
from mulo.errors import Interrupted
from mulo.evaluation.grid import Cell, Record, run_grid
from mulo.evaluation.model_devices import model_mesh
from mulo.evaluation.results import summarize
from mulo.jobs.contestants import evaluated, widths
from mulo.jobs.stopping import Stop
from mulo.optimizers import make_optimizer
from mulo.reporting import plots
from mulo.reporting.progress import progress
from mulo.reporting.tables import print_results
from mulo.reporting.wandb_mirror import WandbMirror
from mulo.types import Theta


def trained_widths(config: Config) -> list[int]:
    """The widths that θ was meta-trained on; none for a baseline."""
    if config.mode == "main":
        return config.task.all_widths
    if config.checkpoint is None:
        return []
    task = checkpoint.read_meta(config.checkpoint).config["task"]
    return list(task["widths"]) if "widths" in task else [task["width"]]


def evaluate(config: Config, theta: Theta, folder: Path, console: Console, mirror: WandbMirror, stop: Stop) -> None:
    """Runs the grid, prints the table, writes results.csv, curves.npz and both figures into `folder`.

    Raises:
        Interrupted: a stop was requested; finished cells are kept.
    """
    cells, settings = _cells(config, theta), config.evaluation
    record, mesh = Record(folder), model_mesh(settings.model_devices)
    names = ", ".join(dict.fromkeys(cell.name for cell in cells))
    over = f", each network on {settings.model_devices} devices" if mesh else ""
    what = f"{names} on widths {widths(config)}, {settings.steps} steps, {settings.seeds} seeds{over}"
    console.print(f"Evaluating {what}.")
    with progress("evaluation", len(cells) * settings.steps, 0, "loss") as bar:
        key = randomness.branch(randomness.root(config.seed), "evaluation")
        done = run_grid(cells, settings.steps, settings.seeds, key, record, bar.update, stop.requested, mesh)
    if not done:
        raise Interrupted(
            int(stop.signal_number or 0),
            f"Stopped; {len(record.curves)} of {len(cells)} trainings are kept in {folder}. "
            "The same command goes on from there.",
        )
    _report(config, record, folder, console, mirror)


def _cells(config: Config, theta: Theta) -> list[Cell]:
    settings, cells = config.evaluation, []
    thetas = [theta] + ([] if settings.sp_twin is None else [checkpoint.load(settings.sp_twin).theta])
    for chosen, tasks in evaluated(config):
        optimizer = make_optimizer(chosen, config.state_dtype)
        # A baseline's θ holds its settings.
        weights = thetas.pop(0) if thetas else optimizer.init(randomness.root(0))
        parametrization = config.task.parametrization or chosen.parametrization
        for width, task in zip(widths(config), tasks, strict=True):
            cells.append(Cell(chosen.name, parametrization, "mlp", width, config.task.depth, task, optimizer, weights))
    return cells


def _report(config: Config, record: Record, folder: Path, console: Console, mirror: WandbMirror) -> None:
    summaries, largest = summarize(record.results), max(widths(config))
    print_results(summaries, console)
    title = f"MLP, depth {config.task.depth}, {config.evaluation.steps} steps on {config.data.name}"
    plots.loss_over_width(summaries, folder / "loss_over_width", trained_widths(config), title)
    at_largest = {key: curve for key, curve in record.curves.items() if key.endswith(f"/w{largest}")}
    plots.curves(at_largest, folder / "curves", f"{title}, width {largest}")
    for name in ("loss_over_width", "curves"):
        mirror.picture(name, folder / f"{name}.png")
    console.print(f"Results: {record.results_path}, figures beside it.", soft_wrap=True)
