"""Whether a job can write to a folder, tried by writing: permissions do not tell, least of all root's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from mulo.errors import ConfigError
from mulo.process import full_disk

_INSIDE = "/".join(["x" * 50] * 4)
"""Longer than what Orbax and W&B add to a directory's path."""


@contextmanager
def refusing(path: Path, key: str) -> Iterator[None]:
    """Turns an OSError into a ConfigError that names the path and the setting by which to choose another."""
    try:
        with full_disk.explained(path):
            yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Choose another path with {key}.") from error


def make(folder: Path, key: str) -> None:
    """Makes a folder, and tries whether files can be made in it, with paths of the length that will be needed.

    Raises:
        ConfigError: they cannot.
    """
    with refusing(folder, key):
        folder.mkdir(parents=True, exist_ok=True)
        _try(folder)


def check(folder: Path, key: str) -> None:
    """The same without making the folder: tries the nearest one above it that exists."""
    with refusing(folder, key):
        _try(next(path for path in (folder, *folder.absolute().parents) if path.exists()))


def _try(folder: Path) -> None:
    with TemporaryFile(dir=folder), suppress(FileNotFoundError):
        os.stat(folder.absolute() / _INSIDE)
