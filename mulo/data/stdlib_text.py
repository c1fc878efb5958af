"""The sources of the running Python's standard library as text: read, never imported or run."""

import hashlib
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mulo import cache
from mulo.config import StdlibTextDataConfig
from mulo.data import text, tokenizer
from mulo.data.tokenizer import Tokenizer
from mulo.errors import DataError

_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
"""Folders of others' code, and of tests, which some distributions leave out."""
_LOCAL = ("_sysconfigdata", "config-", "sitecustomize")
"""How what was written for this machine begins, at the root."""
_HELD_OUT = 26
"""A file is held out if the first of its path's SHA-256 is below: 26 of 256."""
_SAMPLE_BYTES = 3_000_000
"""Of the training text, for the vocabulary: more of it changes little."""


class Sources(NamedTuple):
    """The text of both splits, and SHA-256 over all paths and contents."""

    train: bytes
    test: bytes
    digest: str


@lru_cache(maxsize=1)
def read(root: Path | None = None) -> Sources:
    """Reads all files in the order of their paths, each followed by a newline; once per process.

    Whether a file is held out is decided by the hash of its path. DataError where there are no sources.
    """
    root = root or Path(sysconfig.get_paths()["stdlib"])
    checksum, train, test = hashlib.sha256(), bytearray(), bytearray()
    for name, content in _files(root):
        checksum.update(f"{name}\0{len(content)}\0".encode() + content)
        held_out = hashlib.sha256(name.encode()).digest()[0] < _HELD_OUT
        (test if held_out else train).extend(content + b"\n")
    if not train or not test:
        raise DataError(_no_sources(root, "there are too few"))
    return Sources(bytes(train), bytes(test), checksum.hexdigest())


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Relative POSIX path and content of every source, sorted."""
    try:
        for name in sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py")):
            *folders, _ = parts = name.split("/")
            if not _LEFT_OUT.intersection(folders) and not parts[0].startswith(_LOCAL):
                yield name, (root / name).read_bytes()
    except OSError as error:
        raise DataError(_no_sources(root, str(error))) from error


def _no_sources(root: Path, reason: str) -> str:
    return (
        f"data=stdlib_text reads the .py files of the standard library in {root}, and cannot: {reason}. This Python "
        "may be zipped or come without sources: use one installed from python.org, a package manager, uv or conda, or "
        "choose other data, such as data=synthetic."
    )


@lru_cache(maxsize=1)  # a job calls it several times
def load(config: StdlibTextDataConfig) -> text.Tokens:
    """Tokens of both splits."""
    sources, length = read(), config.sequence_length
    splits = {"train": sources.train, "test": sources.test}
    if config.tokenizer == "bytes":
        host = {split: np.frombuffer(content, np.uint8) for split, content in splits.items()}
        return text.in_memory(config.name, host, 256, length)
    model = bpe(sources, config.vocabulary)
    host = {split: model.encode(_lines(content)) for split, content in splits.items()}
    return text.in_memory(config.name, host, model.vocabulary, length)


def bpe(sources: Sources, vocabulary: int) -> Tokenizer:
    """Trained on a sample of the training text where it is not in the cache."""

    def make(path: Path) -> None:
        step = max(1, len(sources.train) // _SAMPLE_BYTES)
        lines = [line.removesuffix("\n") for line in _lines(sources.train)[::step]]
        path.write_bytes(tokenizer.train(lines, vocabulary))

    identity = f"{sources.digest} {vocabulary} {_SAMPLE_BYTES} {tokenizer.settings_digest()}"
    name = f"stdlib_text-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.model"
    return tokenizer.read(cache.keep(name, make))


def _lines(content: bytes) -> list[str]:
    """With their newlines. What is not UTF-8, as sources seldom are, becomes U+FFFD."""
    return [line.decode("utf-8", errors="replace") for line in content.splitlines(keepends=True)]
