"""The published files of the One Billion Word Benchmark: read from the tar or a folder, never extracted."""

import gzip
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from mulo.errors import DataError

ARCHIVE = "1-billion-word-language-modeling-benchmark-r13output.tar.gz"
_SHARDS = {
    "train": re.compile(r"(?:^|/)training-monolingual\.tokenized\.shuffled/news\.en-(\d{5})-of-(\d{5})$"),
    "test": re.compile(r"(?:^|/)heldout-monolingual\.tokenized\.shuffled/news\.en\.heldout-(\d{5})-of-(\d{5})$"),
}
_FIRST = {"train": 1, "test": 0}
"""Numbers begin here: training shard 0 of 100 became the 50 that are held out."""
_DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError, UnicodeDecodeError)


class NewsFile(NamedTuple):
    """One file: its split, its number, and how many files the split has."""

    split: str
    number: int
    total: int


def find(path: str | None) -> Path:
    """The tar or folder; DataError with the way to get it where there is none."""
    if path is None or not Path(path).exists():
        problem = "data.path is not set" if path is None else f"data.path={path} does not exist"
        raise DataError(
            f"data=lm1b reads the One Billion Word Benchmark, and {problem}. Download {ARCHIVE} (1.8 GB) from "
            "https://www.statmt.org/lm-benchmark, put it anywhere, and set data.path=<where it lies>/"
            f"{ARCHIVE}, or the folder extracted from it. Meanwhile, data=stdlib_text needs no download."
        )
    return Path(path)


def identity(path: Path) -> str:
    """Sizes and times of change of the tar, or of the shards in the folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if _shard(file.as_posix()))
    return repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])


def shards(path: Path) -> Generator[tuple[NewsFile, Iterator[str]]]:
    """Every shard with its sentences, which must be read before the next shard is asked for.

    DataError where the file is damaged or a shard is missing.
    """
    seen = []
    for name, stream in _guarded(path, _members(path)):
        if shard := _shard(name):
            seen.append(shard)
            yield shard, _guarded(path, (line.decode("utf-8").strip() for line in stream))
    _check_complete(path, seen)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if _shard(file.as_posix()):
                with file.open("rb") as stream:
                    yield file.as_posix(), stream
        return
    with path.open("rb") as raw, gzip.open(raw) as unpacked:
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if content := archive.extractfile(member):
                    yield member.name, content
        while unpacked.read(1 << 20):  # gzip's checksum is at the end
            pass


def _guarded(path: Path, items: Iterator) -> Iterator:
    """The same items; damage met on the way raises a DataError that names the file."""
    try:
        yield from items
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged or cut short ({error}): download {ARCHIVE} again.") from error


def _shard(name: str) -> NewsFile | None:
    for split, pattern in _SHARDS.items():
        if match := pattern.search(name):
            return NewsFile(split, int(match[1]), int(match[2]) - _FIRST[split])
    return None


def _check_complete(path: Path, seen: list[NewsFile]) -> None:
    for split, first in _FIRST.items():
        present = [shard for shard in seen if shard.split == split]
        count = present[0].total if present else 1
        if missing := sorted(set(range(first, first + count)) - {shard.number for shard in present}):
            raise DataError(
                f"{path} is incomplete: of the {split} files, number {missing[0]} is missing, the first of "
                f"{len(missing)}. data.path must be {ARCHIVE}, or the whole folder extracted from it."
            )
