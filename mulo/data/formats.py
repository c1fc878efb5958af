"""Readers of the byte formats in which image datasets are published.

A file becomes `Part`s, whose examples are read when they are asked for. Nothing is ever unpickled, and nothing
extracted to disk. A file that is missing, cut short or something else raises DataError with its name.
"""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from mulo.errors import DataError

Examples: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Images uint8 [N, height, width] or [N, height, width, 3], and labels [N] from 0."""
UNREADABLE = (OSError, EOFError, ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""What the standard library and NumPy raise on damaged files."""
_UINT8 = 0x08
_CIFAR_SIDE = 32


class Part(NamedTuple):
    """Some of a split's examples, in one or two files."""

    size: Callable[[], int]
    """How many, without reading the images where that is possible."""
    read: Callable[[], Examples]


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as {kind}: {error}. It may be cut short: get it anew.") from error


def _labels(path: Path, labels: np.ndarray, images: int, classes: range) -> np.ndarray:
    """Labels from 0, int32, of a file that numbers its classes as `classes`."""
    if len(labels) != images:
        raise DataError(f"{path} holds {len(labels)} labels for {images} images.")
    if len(labels) and not (labels.min() in classes and labels.max() in classes):
        raise DataError(f"{path} holds labels outside {classes[0]} … {classes[-1]}: it is damaged or another dataset.")
    return labels.astype(np.int32) - classes[0]


def _channels_last(planes: np.ndarray, side: int) -> np.ndarray:
    """From rows of a red, a green and a blue plane, each row by row."""
    return planes.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)


def idx(images: Path, labels: Path, side: int, classes: int) -> Part:
    """Square grayscale images and labels in two IDX files (LeCun's MNIST format), gzipped if named so."""

    def read() -> Examples:
        pixels = read_idx(images, (None, side, side))
        return pixels, _labels(labels, read_idx(labels, (None,)), len(pixels), range(classes))

    return Part(lambda: len(read_idx(labels, (None,))), read)


def read_idx(path: Path, shape: Sequence[int | None]) -> np.ndarray:
    """uint8 array of an IDX file, gzipped if named so; None in `shape` allows any length.

    Raises DataError if it is no such file, cut short or of another shape.
    """
    kind = "a gzip file" if path.suffix == ".gz" else "a file"
    with _readable(path, kind):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    magic, start = bytes([0, 0, _UINT8, len(shape)]), 4 + 4 * len(shape)
    if content[:4] != magic:
        raise DataError(f"{path} starts with '{content[:4].hex()}'; expected '{magic.hex()}'.")
    actual = tuple(np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist())
    if len(content) < start or any(expected not in (None, size) for expected, size in zip(shape, actual, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise DataError(f"{path} has shape {actual}; expected ({expected}).")
    values = np.frombuffer(content, np.uint8, offset=start)
    if values.size != np.prod(actual):
        raise DataError(f"{path} holds {values.size} values; its shape {actual} needs {np.prod(actual)}.")
    return values.reshape(actual)


def cifar(path: Path, classes: int) -> Part:
    """One file of CIFAR-10's binary version: records of a label and a 32×32 image, plane after plane."""
    return Part(lambda: path.stat().st_size // _RECORD, partial(_cifar_file, path, classes))


_RECORD = 1 + 3 * _CIFAR_SIDE**2


def _cifar_file(path: Path, classes: int) -> Examples:
    with _readable(path, "a file"):
        return _cifar_records(path, path.read_bytes(), classes)


def cifar_archive(path: Path, names: Sequence[str], classes: int) -> Part:
    """Several such files inside a gzipped tar archive, in the order of `names`, wherever they lie in it."""

    def content() -> bytes:
        members = _members(path, names)
        missing = [name for name in names if name not in members]
        if missing:
            raise DataError(f"{path} holds no {', '.join(missing)}: it is not CIFAR-10's binary version.")
        return b"".join(members[name] for name in names)

    return Part(lambda: len(content()) // _RECORD, lambda: _cifar_records(path, content(), classes))


def _members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Contents by file name, in whatever folder, read in one pass."""
    contents = {}
    kind = "a gzipped tar archive"
    with _readable(path, kind), gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            file, name = archive.extractfile(member), Path(member.name).name
            if file is not None and name in names:
                contents[name] = file.read()
        while stream.read(1 << 20):  # the checksum is at the end, behind what tar reads
            pass
    return contents


def _cifar_records(path: Path, content: bytes, classes: int) -> Examples:
    if not content or len(content) % _RECORD:
        raise DataError(
            f"{path} holds {len(content)} bytes, no whole number of records of {_RECORD} bytes: it is cut short "
            "or not CIFAR-10's binary version."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = _labels(path, records[:, 0], len(records), range(classes))
    return _channels_last(records[:, 1:], _CIFAR_SIDE), labels


def npz(path: Path, side: int, classes: int) -> Part:
    """One batch of downsampled ImageNet: `data` uint8 [N, 3·side²], plane after plane, and `labels` from 1."""

    def array(name: str) -> np.ndarray:
        with _readable(path, "an npz file"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive[name]

    def read() -> Examples:
        planes, labels = array("data"), array("labels")
        if planes.dtype != np.uint8 or planes.shape[1:] != (3 * side**2,):
            raise DataError(f"{path} holds {planes.dtype} {planes.shape}; expected uint8 (any, {3 * side**2}).")
        return _channels_last(planes, side), _labels(path, labels, len(planes), range(1, classes + 1))

    return Part(lambda: len(array("labels")), read)
