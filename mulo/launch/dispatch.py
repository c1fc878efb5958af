"""From a checked configuration to its job."""

import json
from contextlib import ExitStack
from dataclasses import replace

from rich.console import Console

from mulo import checkpoint, distributed
from mulo.cache import keep_compiled_programs
from mulo.config import Config, LoggerConfig, to_dict
from mulo.evaluation.model_devices import model_mesh
from mulo.exchange.reference import read_theta
from mulo.files import replacing
from mulo.jobs import memory, theta_store
from mulo.jobs.context import JobContext
from mulo.jobs.coordinate_check import coordinate_check
from mulo.jobs.evaluate import Prepared, PreparedFor, evaluate
from mulo.jobs.export import export
from mulo.jobs.meta_train import meta_train
from mulo.jobs.parameters import parameters
from mulo.jobs.plan import plan
from mulo.jobs.tune import tune
from mulo.jobs.verify import verify
from mulo.locks import locked
from mulo.optimizers import fresh_theta
from mulo.process import preparation_time, run_directory
from mulo.process.status import finished, recorded
from mulo.process.stopping import graceful_stop
from mulo.reporting.wandb_mirror import WandbMirror
from mulo.types import Theta


def run(config: Config) -> int:
    """Runs the job of `config.mode` and returns the exit code."""
    distributed.join(config.distributed)
    distributed.use_all_cores()
    keep_compiled_programs()
    console = Console(quiet=not distributed.leads())
    _check_machine(config)
    if not config.meta_trains:
        distributed.leave()
    if distributed.leads():
        return _lead(config, console)
    if config.meta_trains:
        _follow(config, console)
    return 0


def _check_machine(config: Config) -> None:
    """Refuses now, in every process, what would fail hours later."""
    if config.mode in ("main", "evaluate"):
        model_mesh(config.evaluation.model_devices)
    memory.check(config)


def _follow(config: Config, console: Console) -> None:
    config = theta_store.training_of(config)
    folder = run_directory.choose(config)
    mirror = WandbMirror(LoggerConfig(name="none"), folder, {})
    with graceful_stop(console) as stop:
        meta_train(JobContext(config, folder, console, mirror, stop))
        distributed.leave()


def _lead(config: Config, console: Console) -> int:
    if config.mode == "verify":
        return verify(config, console)
    if config.mode == "plan":
        return plan(config, console)
    if config.mode == "export":
        return export(config, console)
    # A damaged checkpoint is found before anything is made on disk.
    needs_theta = config.mode in ("evaluate", "coordinate_check") and not config.meta_trains
    theta = _given_theta(config) if needs_theta else None
    folder = run_directory.open_run(config)
    console.print(f"mulo {config.mode}: {config.optimizer.name} on {config.task.name}, in {folder}", soft_wrap=True)
    if config.mode == "parameters":
        return parameters(config, folder)
    with graceful_stop(console) as stop, WandbMirror(config.logger, folder, to_dict(config)) as mirror:
        return _computed(JobContext(config, folder, console, mirror, stop), theta)


def _computed(job: JobContext, theta: Theta | None) -> int:
    if job.config.meta_trains:
        theta = _meta_trained(job)
        distributed.leave()
    if job.config.mode == "coordinate_check":
        return coordinate_check(job, theta)
    if job.config.mode == "main":
        prepared_for = _tuned(job, theta) if job.config.tunes else _for_all(job, theta)
        evaluate(replace(job, folder=job.folder / "evaluation"), prepared_for)
    elif job.config.mode == "evaluate":
        evaluate(job, _for_all(job, theta))
    return 0


def _for_all(job: JobContext, theta: Theta) -> PreparedFor:
    return lambda task: Prepared(job.config.optimizer, theta)


def _tuned(job: JobContext, theta: Theta | None) -> PreparedFor:
    with preparation_time.measured(job.folder):
        return tune(job, theta)


def _meta_trained(job: JobContext) -> Theta:
    """Meta-trains θ. Jobs of a sweep share meta-trainings that do not differ."""
    training = theta_store.training_of(job.config)
    if training is not job.config:
        return _shared_theta(job, training)
    with preparation_time.measured(job.folder):
        return meta_train(job)


def _shared_theta(job: JobContext, training: Config) -> Theta:
    """θ of a meta-training that other jobs may need too; the job's theta.json holds its directory and cost."""
    folder = run_directory.choose(training)
    with locked(folder, lambda text: job.console.print(text, soft_wrap=True)), ExitStack() as stack:
        done = finished(folder, training.mode)
        if done is None:
            started = stack.enter_context(recorded(folder, training.mode))
            run_directory.open_run(training)
        theta = meta_train(replace(job, config=training, folder=folder))
    seconds = started.seconds if done is None else done.wall_seconds
    with replacing(job.folder / "theta.json") as partial:
        partial.write_text(json.dumps({"directory": str(folder), "seconds": seconds}) + "\n", encoding="utf-8")
    return theta


def _given_theta(config: Config) -> Theta:
    """θ of the checkpoint or reference file where one is given, else a fresh one (for a baseline: its settings)."""
    if config.checkpoint is not None:
        return checkpoint.load(config.checkpoint).theta
    if config.reference is not None:
        return read_theta(config.reference)
    return fresh_theta(config.optimizer, config.seed)
