"""The One Billion Word Benchmark as tokens: tokenised once with bounded memory, kept in the cache as .npy files."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mulo import cache
from mulo.config import LM1BDataConfig
from mulo.data import lm1b_files, text, tokenizer
from mulo.data.sources import SPLITS
from mulo.data.tokenizer import Tokenizer
from mulo.errors import DataError
from mulo.types import Dataset

_SAMPLE_SENTENCES = 100_000
"""The vocabulary is trained on as many sentences of the first training file; all files are shuffled."""
_BATCH_SENTENCES = 10_000
"""Are in memory at a time."""


@lru_cache(maxsize=1)  # a job calls it several times
def load(config: LM1BDataConfig) -> Dataset:
    """Both splits, on the device where they fit, else streamed from their files."""
    folder, vocabulary = prepare(config)
    tokens, length = memory_mapped(folder), config.sequence_length
    if sum(part.nbytes for part in tokens.values()) <= config.in_memory_gib * 2**30:
        return text.in_memory(config.name, tokens, vocabulary, length)
    text.check_length(config.name, tokens, length)
    # Grain takes seconds to import, and most jobs do not need it.
    from mulo.data.streams import stream

    sources = {split: text.TokenSource(part, length) for split, part in tokens.items()}
    return stream(config.name, sources, config, kind="tokens", classes=vocabulary, decode=text.widened)


def digest(config: LM1BDataConfig) -> str:
    """SHA-256 of the tokenizer and of all tokens."""
    return json.loads((prepare(config)[0] / "meta.json").read_text(encoding="utf-8"))["digest"]


def memory_mapped(folder: Path) -> dict[str, np.ndarray]:
    """The tokens [N] of both splits, left in their files."""
    return {split: np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False) for split in SPLITS}


def prepare(config: LM1BDataConfig) -> tuple[Path, int]:
    """The folder with train.npy, test.npy and meta.json, made where it is not in the cache, and the vocabulary.

    Raises DataError where files are missing, damaged or incomplete, or the tokenizer does not fit the settings.
    """
    path = lm1b_files.find(config.path)
    model = _tokenizer(config, path)
    key = hashlib.sha256(f"{lm1b_files.identity(path)} {model.digest}".encode()).hexdigest()[:16]
    return cache.keep(f"lm1b-{key}", lambda folder: _tokenise(path, model, folder)), model.vocabulary


def _tokenizer(config: LM1BDataConfig, path: Path) -> Tokenizer:
    if config.tokenizer_path is None:
        return _trained(path, config.vocabulary)
    model = tokenizer.read(Path(config.tokenizer_path))
    if model.vocabulary != config.vocabulary:
        raise DataError(
            f"data.vocabulary={config.vocabulary} does not match {config.tokenizer_path}, which has "
            f"{model.vocabulary} tokens: set data.vocabulary={model.vocabulary}."
        )
    if model.end < 0:
        raise DataError(f"{config.tokenizer_path} has no token for the end of a sentence (eos): train one with it.")
    return model


def _trained(path: Path, vocabulary: int) -> Tokenizer:
    def make(file: Path) -> None:
        file.write_bytes(tokenizer.train(_sample(path), vocabulary))

    identity = f"{lm1b_files.identity(path)} {vocabulary} {_SAMPLE_SENTENCES} {tokenizer.settings_digest()}"
    return tokenizer.read(cache.keep(f"lm1b-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.model", make))


def _sample(path: Path) -> list[str]:
    """The first sentences of the first training file, wherever in the tar it lies."""
    with closing(lm1b_files.shards(path)) as shards:
        for shard, sentences in shards:
            if (shard.split, shard.number) == ("train", 1):
                return list(islice(sentences, _SAMPLE_SENTENCES))
    raise AssertionError("shards() refuses files without it.")


def _tokenise(path: Path, model: Tokenizer, folder: Path) -> None:
    """One file of bare tokens per shard in whatever order they come, then all of a split in the order of numbers."""
    folder.mkdir()
    totals: dict[str, int] = {}
    with Progress(console=Console(stderr=True)) as bar:
        row = bar.add_task(f"tokenising {path.name}", total=None)
        for shard, sentences in lm1b_files.shards(path):
            with (folder / f"{shard.split}-{shard.number:05d}").open("wb") as file:
                for tokens in _encoded(model, sentences):
                    tokens.tofile(file)
            totals[shard.split] = shard.total
            bar.update(row, advance=1, total=sum(totals.values()))
    checksum, counts = hashlib.sha256(model.digest.encode()), {}
    for split in SPLITS:
        counts[split] = _join(sorted(folder.glob(f"{split}-*")), folder / f"{split}.npy", model, checksum)
    (folder / "meta.json").write_text(json.dumps({"digest": checksum.hexdigest(), "tokens": counts}), encoding="utf-8")


def _encoded(model: Tokenizer, sentences: Iterator[str]) -> Iterator[np.ndarray]:
    while batch := list(islice(sentences, _BATCH_SENTENCES)):
        yield model.encode([sentence for sentence in batch if sentence], end=True)


def _join(parts: list[Path], whole: Path, model: Tokenizer, checksum: "hashlib._Hash") -> int:
    """Writes all parts into one .npy, deletes them and returns the number of tokens."""
    dtype, start = text.token_type(model.vocabulary), 0
    total = sum(part.stat().st_size for part in parts) // dtype.itemsize
    joined = np.lib.format.open_memmap(whole, "w+", dtype, (total,))
    for part in parts:
        tokens = np.fromfile(part, dtype)
        joined[start : start + len(tokens)] = tokens
        checksum.update(tokens.tobytes())
        start += len(tokens)
        part.unlink()
    joined.flush()
    return total
