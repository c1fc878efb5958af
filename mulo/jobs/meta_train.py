"""mode=meta_train: from configuration to θ, resumed from whatever the run directory holds."""

from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np

from mulo import checkpoint, distributed
from mulo.config import Config, RecipeConfig, to_dict
from mulo.errors import Interrupted
from mulo.jobs import networks
from mulo.jobs.context import JobContext
from mulo.meta.state import handed_on
from mulo.meta.trainer import Metrics, Trainer, TrainerState, run
from mulo.optimizers import with_state_dtype
from mulo.reporting import plots
from mulo.reporting.metrics import MetricsLog, read
from mulo.reporting.progress import progress
from mulo.tasks import augmented, make_tasks
from mulo.types import Theta


def make_trainer(config: Config) -> Trainer:
    """The trainer that a configuration describes."""
    tasks = [
        task
        for part in config.task.parts
        for task in augmented(make_tasks(part, config.parametrization, networks.dataset_of(config, part)), part)
    ]
    optimizer = with_state_dtype(config.optimizer, config.state_dtype)
    return Trainer(tasks, optimizer, config.recipe, config.seed, validated=networks.validated(config))


def meta_train(job: JobContext) -> Theta:
    """Meta-trains θ, or goes on where the run directory's last checkpoint stands, and returns the θ that it hands on.

    Raises:
        Interrupted: a stop was requested; the state is saved.
    """
    config, folder = job.config, job.folder
    trainer = make_trainer(config)
    if config.recipe.outer_steps == 0:
        return _initial(job, trainer)
    state = _resume(trainer, folder)
    done, total = int(state.step), config.recipe.outer_steps
    if distributed.leads():
        MetricsLog(folder / "metrics.jsonl").keep_until(done)
    if done < total:
        where = f"from outer step {done}" if done else "from the start"
        job.console.print(
            f"Meta-training {config.optimizer.name} {where} to {total}; compiling takes the first seconds."
        )
        state = _train(job, trainer, state)
        if distributed.leads():
            _picture(job)
    if int(state.step) < total:
        raise Interrupted(
            int(job.stop.signal_number or SIGTERM),  # another process may have had the signal
            f"Stopped after outer step {int(state.step)} of {total}; everything is saved in {folder}. "
            "The same command continues from there.",
        )
    _say_outcome(job)
    return handed_on(config.recipe, state)


def _initial(job: JobContext, trainer: Trainer) -> Theta:
    """θ before the first outer step, in a checkpoint of step 0."""
    theta = trainer.initial_theta()
    with checkpoint.CheckpointWriter(job.folder, job.config.optimizer, to_dict(job.config)) as writer:
        writer.save(0, theta)
    job.console.print(f"recipe.outer_steps=0: θ of {job.config.optimizer.name} is a fresh one.")
    return theta


def _resume(trainer: Trainer, folder: Path) -> TrainerState:
    state, meta = trainer.initial(), checkpoint.latest(folder)
    if meta is None:
        return state
    items = checkpoint.restore(meta, _items(trainer.recipe, state))
    return trainer.place(TrainerState(**{"theta": items["theta"]} | items["state"]))


def _items(recipe: RecipeConfig, state: TrainerState) -> dict[str, Any]:
    """What a checkpoint holds: the θ that is handed on, and the rest of the state; the state's θ if that is another."""
    rest = {name: part for name, part in state._asdict().items() if part is not None}
    if recipe.keep == "last" and not recipe.outer.average:
        del rest["theta"]
    return {"theta": handed_on(recipe, state), "state": rest}


def _train(job: JobContext, trainer: Trainer, state: TrainerState) -> TrainerState:
    config, console = job.config, job.console
    recipe, log = config.recipe, MetricsLog(job.folder / "metrics.jsonl")
    with (
        checkpoint.CheckpointWriter(job.folder, config.optimizer, to_dict(config)) as writer,
        progress(
            "meta-training", recipe.outer_steps, int(state.step), "meta-loss", console if console.quiet else None
        ) as bar,
    ):

        def record(row: Metrics) -> None:
            if distributed.leads():
                log.append(row)
                job.mirror.log(row)

        def save(state: TrainerState) -> None:
            # In this order: what is cut off between the two is done again by a run that goes on from the last.
            if np.isfinite(state.best_loss):
                writer.save_best(int(state.best_step), state.best_theta)
            writer.save(int(state.step), **_items(recipe, state))

        return run(trainer, state, bar.update, record, save, lambda: distributed.anyone(job.stop.requested()))


def _picture(job: JobContext) -> None:
    rows = read(job.folder / "metrics.jsonl")
    if len(rows) > 1:
        plots.meta_training(rows, job.folder / "meta_training")
        job.mirror.picture("meta_training", job.folder / "meta_training.png")


def _say_outcome(job: JobContext) -> None:
    losses = [row["validation_loss"] for row in read(job.folder / "metrics.jsonl") if "validation_loss" in row]
    if losses:
        kept = ", which is handed on" if job.config.recipe.keep == "best" else ""
        job.console.print(
            f"Validation loss on held-out seeds: {losses[0]:.4f} under the initial θ, {losses[-1]:.4f} under the final "
            f"one (lowest {min(losses):.4f}{kept})."
        )
