"""What can be refused before anything expensive starts, without loading JAX."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mulo import checkpoint, data
from mulo.config import Config, parse, to_dict
from mulo.errors import CheckpointError, ConfigError
from mulo.exchange.reference_file import read_config, read_groups
from mulo.jobs import export, report
from mulo.optimizers import Optimizer
from mulo.process import run_directory, writable
from mulo.reporting import wandb_mirror


def resolve(raw: Mapping[str, Any], explicit: Collection[str]) -> Config:
    """The job's configuration, checked; raises a MuloError for whatever would fail later.

    Args:
        raw: nested plain settings, as composed.
        explicit: keys typed by the user, such as `optimizer` or `optimizer.step_mult`.

    Returns:
        The configuration, with the optimizer's settings as the checkpoint or reference file given has them.
    """
    config = parse(raw)
    try:
        return _checked(config, explicit)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be used: {error.strerror}. Choose another path.") from error


def _checked(config: Config, explicit: Collection[str]) -> Config:
    if config.mode == "report":
        report.check(config)
        return config
    stored = _stored_settings(config)
    if stored is not None:
        _check_agrees(stored, config.optimizer, explicit)
        config = replace(config, optimizer=stored)
    if config.mode == "export":
        export.check(config)
        return config
    if config.evaluation.sp_twin is not None:
        _check_twin(config)
    if config.mode != "verify":
        for dataset in config.datasets:
            data.check(dataset)
    if config.mode == "plan":
        _check_output(config)
    elif config.mode != "verify":
        wandb_mirror.mode(config.logger)
        run_directory.check(config)
    return config


def _stored_settings(config: Config) -> Optimizer | None:
    """The settings of the θ that is read from a file, where one is."""
    if config.checkpoint is not None and config.reference is not None:
        raise ConfigError("Both checkpoint and reference are given, and each holds a θ: give one of them.")
    if config.checkpoint is not None:
        return _read_meta("checkpoint", config.checkpoint).optimizer
    if config.reference is not None:
        return read_config(read_groups(config.reference), config.reference)
    return None


def _read_meta(key: str, path: str) -> checkpoint.Meta:
    try:
        return checkpoint.read_meta(path)
    except CheckpointError as error:
        raise CheckpointError(f"{key}={path} cannot be used. {error}") from error


def _check_agrees(stored: Optimizer, given: Optimizer, explicit: Collection[str]) -> None:
    """A checkpoint's settings travel with its θ: what the user typed may repeat them but not contradict them."""
    old, new = to_dict(stored), to_dict(given)
    if "optimizer" in explicit and old["name"] != new["name"]:
        raise ConfigError(
            f"optimizer={new['name']} contradicts the file given, which holds θ of {old['name']}. "
            "Leave optimizer out: its settings are read from that file."
        )
    for key in sorted(explicit):
        name = key.removeprefix("optimizer.")
        if key != name and old.get(name) != new.get(name):
            raise ConfigError(
                f"{key}={new.get(name)} contradicts the file given, whose θ was meta-trained with {old.get(name)}. "
                "Leave it out: static settings travel with θ."
            )


def _check_output(config: Config) -> None:
    """Refuses, before anything is measured, a path where no file can be written."""
    path = Path(config.plan.output or "plan.json").absolute()
    if path.is_dir():
        raise ConfigError.value("plan.output", config.plan.output, "the name of a file", "This is a folder.")
    if not path.parent.is_dir():
        raise ConfigError.value(
            "plan.output", config.plan.output, "a file in an existing folder", f"{path.parent} does not exist."
        )
    if config.plan.output is not None:
        writable.check(path.parent, "plan.output=<file>")


def _check_twin(config: Config) -> None:
    twin = _read_meta("evaluation.sp_twin", str(config.evaluation.sp_twin)).optimizer
    if twin.architecture != config.optimizer.architecture or twin.parametrization != "sp":
        raise ConfigError.value(
            "evaluation.sp_twin",
            config.evaluation.sp_twin,
            f"a checkpoint of {config.optimizer.architecture} meta-trained under sp",
            f"This one holds {twin.name} ({twin.architecture}, {twin.parametrization}).",
        )
