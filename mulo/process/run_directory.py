"""The directory of one job: its name, its configuration, and the refusal to mix two jobs in one folder."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mulo import data
from mulo.config import Config, parse, to_dict
from mulo.errors import ConfigError, DataError
from mulo.files import replacing
from mulo.process import writable

KEY = "run_dir=<path>"
_DECIDES_NOTHING = ("mode", "run_dir", "logger", "distributed", "plan", "sweep", "report", "export")
"""Settings that may change between two starts of one run."""


def choose(config: Config) -> Path:
    """The run directory asked for, or `runs/<what it is>-<hash of all settings>`: same settings, same directory.

    Jobs of a sweep are in `runs/<sweep>-<scale>/`.
    """
    if config.run_dir is not None:
        return Path(config.run_dir)
    settings = {key: value for key, value in to_dict(config).items() if key not in _DECIDES_NOTHING}
    job = "train" if config.mode in ("main", "meta_train") else config.mode
    text = json.dumps([job, settings], sort_keys=True)
    name = [config.method, config.task.name, config.recipe.name, f"seed{config.seed}"]
    prefix = [] if job == "train" else [config.mode]
    whole = "-".join([*prefix, *name, hashlib.sha256(text.encode()).hexdigest()[:6]])
    return _parent(config) / re.sub(r"[^\w.=-]+", "_", whole)


def _parent(config: Config) -> Path:
    sweep = config.sweep.name
    return Path("runs") if sweep is None else Path("runs") / f"{sweep}-{config.scale or 'own'}"


def described(config: Config) -> str:
    """The run directory in a message: by its setting only where that was given."""
    path = choose(config)
    return f"The run directory {path}" if config.run_dir is None else f"run_dir={path}"


def check(config: Config) -> None:
    """Refuses, before anything is written or computed, a directory that cannot be made or holds another run."""
    path = choose(config).absolute()
    with writable.refusing(path, KEY):
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
        if not nearest.is_dir():
            raise ConfigError(f"{described(config)} cannot be made: {nearest} is a file. Choose another run_dir.")
        stored = path / "config.yaml"
        if not stored.exists():
            return
    differing = list(_differences(to_dict(read(stored)), to_dict(config)))
    if differing:
        raise ConfigError(
            f"{described(config)} holds a run with other settings: {'; '.join(differing[:5])}. "
            "Choose another run_dir, or repeat the stored settings to continue that run."
        )


def read(path: Path) -> Config:
    """The configuration in a run directory, of whatever version; raises ConfigError where it is none."""
    try:
        return parse(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    except Exception as error:  # YAML errors come in many kinds
        raise ConfigError(f"{path} is not the configuration of a job: {error}") from error


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*stored, *asked]):
        if not prefix and key in _DECIDES_NOTHING:
            continue
        old, new = stored.get(key), asked.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} is {old} there and {new} here"


def open_run(config: Config) -> Path:
    """Makes the directory with its config.yaml and, of data that a configuration does not tell, data.json.

    `check` has passed before. Raises DataError, and makes nothing, where the data are not those that the run has seen.
    """
    path = choose(config)
    digests = _digests(config, path / "data.json")
    path.mkdir(parents=True, exist_ok=True)
    with replacing(path / "config.yaml") as partial:
        partial.write_text(OmegaConf.to_yaml(OmegaConf.create(to_dict(config))), encoding="utf-8")
    if digests:
        with replacing(path / "data.json") as partial:
            partial.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    return path


def _digests(config: Config, stored: Path) -> dict[str, str]:
    """Of all data of the task: the configuration says where they are, not what they hold."""
    digests = {name: digest for chosen in config.datasets for name, digest in data.digests(chosen).items()}
    then = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    if differing := [name for name in then if name in digests and then[name] != digests[name]]:
        raise DataError(
            f"{described(config)} holds a run on other data: {', '.join(differing)} had another SHA-256, noted in "
            f"{stored.name}. Go on with the data of then (the standard library differs between versions of Python), or "
            "choose another run_dir."
        )
    return digests
