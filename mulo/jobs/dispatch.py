"""From a checked configuration to its job."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from mulo import checkpoint
from mulo.config import Config, to_dict
from mulo.jobs import coordinate_check, evaluate, meta_train, run_directory, verify
from mulo.jobs.stopping import Stop, graceful_stop
from mulo.reporting.wandb_mirror import WandbMirror

_Job = Callable[[Config, Path, Console, WandbMirror, Stop], int]


def run(config: Config) -> int:
    """Runs the job of `config.mode` and returns the exit code."""
    console = Console(stderr=False)
    if config.mode == "verify":
        return verify.verify(config, console)
    folder = run_directory.open_run(config)
    console.print(f"mulo {config.mode}: {config.optimizer.name} on {config.task.name}, in {folder}", soft_wrap=True)
    with graceful_stop(console) as stop, WandbMirror(config.logger, folder, to_dict(config)) as mirror:
        return _JOBS[config.mode](config, folder, console, mirror, stop)


def _main(config: Config, folder: Path, console: Console, mirror: WandbMirror, stop: Stop) -> int:
    theta = meta_train.meta_train(config, folder, console, mirror, stop)
    evaluate.evaluate(config, theta, folder / "evaluation", console, mirror, stop)
    return 0


def _meta_train(config: Config, folder: Path, console: Console, mirror: WandbMirror, stop: Stop) -> int:
    meta_train.meta_train(config, folder, console, mirror, stop)
    return 0


def _evaluate(config: Config, folder: Path, console: Console, mirror: WandbMirror, stop: Stop) -> int:
    evaluate.evaluate(config, checkpoint.load(str(config.checkpoint)).theta, folder, console, mirror, stop)
    return 0


_JOBS: dict[str, _Job] = {
    "main": _main,
    "meta_train": _meta_train,
    "evaluate": _evaluate,
    "coordinate_check": coordinate_check.coordinate_check,
}

