"""Places that a job is to write to, tried by writing: permissions alone say little, to root least of all."""

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
def refusing(place: Path, key: str) -> Iterator[None]:
    """Says what keeps a place from being written to, and by which setting to choose another."""
    try:
        with full_disk.explained(place):
            yield
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror}. Choose another place with {key}.") from error


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
        _try(next(place for place in (folder, *folder.absolute().parents) if place.exists()))


def _try(folder: Path) -> None:
    with TemporaryFile(dir=folder), suppress(FileNotFoundError):
        os.stat(folder.absolute() / _INSIDE)
