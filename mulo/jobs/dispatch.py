"""From a checked configuration to its job."""

from rich.console import Console

from mulo.cache import keep_compiled_programs
from mulo.config import Config, to_dict
from mulo.jobs import memory, run_directory
from mulo.jobs.coordinate_check import coordinate_check
from mulo.jobs.evaluate import evaluate
from mulo.jobs.meta_train import meta_train
from mulo.jobs.plan import plan
from mulo.jobs.stopping import graceful_stop
from mulo.jobs.theta import theta_of
from mulo.jobs.verify import verify
from mulo.reporting.wandb_mirror import WandbMirror


def run(config: Config) -> int:
    """Runs the job of `config.mode` and returns the exit code."""
    console = Console()
    keep_compiled_programs()
    if config.mode == "verify":
        return verify(config, console)
    if config.mode == "plan":
        return plan(config, console)
    # A damaged checkpoint is found before anything is made on disk.
    theta = theta_of(config) if config.mode in ("evaluate", "coordinate_check") else None
    memory.check(config)
    folder = run_directory.open_run(config)
    console.print(f"mulo {config.mode}: {config.optimizer.name} on {config.task.name}, in {folder}", soft_wrap=True)
    with graceful_stop(console) as stop, WandbMirror(config.logger, folder, to_dict(config)) as mirror:
        if config.mode == "coordinate_check":
            return coordinate_check(config, theta, folder, console, mirror)
        if config.mode in ("main", "meta_train"):
            theta = meta_train(config, folder, console, mirror, stop)
        if config.mode in ("main", "evaluate"):
            beside = folder / "evaluation" if config.mode == "main" else folder
            evaluate(config, theta, beside, console, mirror, stop)
        return 0
