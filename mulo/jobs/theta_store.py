"""Meta-trainings that several jobs of a sweep share: one per setting and seed, under runs/theta/."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from mulo.config import Config, to_dict
from mulo.config.recipe import ScaleConfig

_FOLDER = Path("runs") / "theta"


_DECIDES = ("seed", "state_dtype", "optimizer", "task", "data", "recipe")
"""The settings that decide θ."""


def training_of(config: Config) -> Config:
    """The meta-training that a job needs, outside a sweep its own, in a sweep one that jobs share.

    Jobs of all sweeps that differ only in their evaluation or their name have the same one, in a directory named by
    what decides θ.
    """
    if config.sweep.name is None:
        return config
    settings = {key: getattr(config, key) for key in _DECIDES}
    # The task has taken its sizes from it already.
    settings["recipe"] = replace(config.recipe, scale=ScaleConfig())
    alone = Config(mode="meta_train", logger=config.logger, distributed=config.distributed, **settings)
    return replace(alone, run_dir=str(_FOLDER / _name(alone)))


def _name(alone: Config) -> str:
    settings = to_dict(alone)
    text = json.dumps({key: settings[key] for key in _DECIDES}, sort_keys=True)
    name = [alone.optimizer.name, alone.task.name, f"seed{alone.seed}"]
    return "-".join([*name, hashlib.sha256(text.encode()).hexdigest()[:8]])
