"""What can be refused before anything expensive starts, without loading JAX."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from mulo import checkpoint
from mulo.config import Config, OptimizerConfig, parse, to_dict
from mulo.errors import ConfigError
from mulo.exchange.reference_file import read_config, read_groups
from mulo.jobs import run_directory


def resolve(raw: Mapping[str, Any], explicit: Collection[str]) -> Config:
    """The job's configuration, checked; raises a MuloError for whatever would fail later.

    Args:
        raw: nested plain settings, as composed.
        explicit: keys typed by the user, such as `optimizer` or `optimizer.step_mult`.

    Returns:
        The configuration, with the optimizer's settings as the checkpoint has them where one is given.
    """
    config = parse(raw)
    if config.reference is not None:
        read_config(read_groups(config.reference), config.reference)
    if config.checkpoint is not None:
        stored = checkpoint.read_meta(config.checkpoint).optimizer
        _check_agrees(stored, config.optimizer, explicit)
        config = replace(config, optimizer=stored)
    if config.evaluation.sp_twin is not None:
        _check_twin(config)
    if config.mode != "verify":
        run_directory.check(config)
    return config


def _check_agrees(stored: OptimizerConfig, given: OptimizerConfig, explicit: Collection[str]) -> None:
    """A checkpoint's settings travel with its θ: what the user typed may repeat them but not contradict them."""
    old, new = to_dict(stored), to_dict(given)
    if "optimizer" in explicit and old["name"] != new["name"]:
        raise ConfigError(
            f"optimizer={new['name']} contradicts the checkpoint, which holds θ of {old['name']}. "
            "Leave optimizer away: its settings are read from the checkpoint."
        )
    for key in sorted(explicit):
        name = key.removeprefix("optimizer.")
        if key != name and old.get(name) != new.get(name):
            raise ConfigError(
                f"{key}={new.get(name)} contradicts the checkpoint, whose θ was meta-trained with {old.get(name)}. "
                "Leave it away: static settings travel with θ."
            )


def _check_twin(config: Config) -> None:
    twin = checkpoint.read_meta(str(config.evaluation.sp_twin)).optimizer
    if twin.architecture != config.optimizer.architecture or twin.parametrization != "sp":
        raise ConfigError.value(
            "evaluation.sp_twin",
            config.evaluation.sp_twin,
            f"a checkpoint of {config.optimizer.architecture} meta-trained under sp",
            f"This one holds {twin.name} ({twin.architecture}, {twin.parametrization}).",
        )
