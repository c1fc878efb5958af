"""Opening a reference file: arrays by group and the settings they belong to, without loading JAX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mulo.config import parse_group
from mulo.config.registry import Schemas
from mulo.errors import ReferenceFileError
from mulo.optimizers import PerParameterMLP

Groups = Mapping[str, Mapping[str, np.ndarray]]
"""Arrays by the first part of their name, then by the rest of it."""


def read_groups(path: str | Path) -> Groups:
    """Reads all arrays; raises ReferenceFileError where the file is missing, damaged or holds a pickle."""
    try:
        # Opened here because np.load leaves a damaged file open.
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise ReferenceFileError(f"reference={path} does not exist.") from error
    except Exception as error:
        raise ReferenceFileError(f"reference={path} is not a readable npz file without pickles: {error}") from error
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = array
    return groups


def read_config(groups: Groups, path: str | Path) -> PerParameterMLP:
    """The learned optimizer's settings from `config/`; raises ReferenceFileError for an unknown architecture."""
    stored = groups.get("config", {})
    settings: dict[str, Any] = {name: array.item() for name, array in stored.items() if name != "num_steps"}
    known = [name for name, optimizer in Schemas("optimizer").items() if getattr(optimizer, "learned", False)]
    if settings.get("architecture") not in known:
        given = settings.get("architecture", "nothing")
        raise ReferenceFileError(
            f"{path} names architecture {given}; mulo replays {', '.join(known)}, "
            "and reads the name from config/architecture."
        )
    return parse_group("optimizer", _named_and_complete(settings))


def _named_and_complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Adds what such a file does not state: the name, and what an optimizer's authors do under one parametrization."""
    optimizer: Any = Schemas("optimizer")[settings["architecture"]]
    parametrization = settings.get("parametrization", "mup")
    return {"name": f"{settings['architecture']}_{parametrization}", **optimizer.published[parametrization], **settings}
