"""Datasets larger than a device: a window of their examples lives there, and moves on block by block.

Block j is the j-th batch of an endless shuffle, every epoch in another order (Grain). At position p the window shows
blocks p … p + B − 1, block j in slot j mod B, so that moving on by one rewrites one slot. What is shown depends on the
position alone: a job that is resumed at a position, or jumps there, sees what it would have seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Protocol

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mulo.config import StreamedDataConfig
from mulo.data.sources import SPLITS, known, uniform_indices
from mulo.errors import ConfigError
from mulo.types import Array, Batch

FIXED = 10_000
"""Examples of each split that are on the device for evaluations."""
READERS = 2
"""Threads that read ahead, a block each."""


class Source(Protocol):
    """Examples by number, each a pair of NumPy arrays (x, y) of one shape and type."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One example. A source may also have `__getitems__(indices)`, which returns a list of them."""


class Blocks:
    """The batches of an endless shuffle by number, read ahead in the background as long as they are asked for in order.

    Args:
        source: the examples.
        size: of a block.
        seed: decides the order; the number of readers does not.
        readers: threads.
    """

    def __init__(self, source: Source, size: int, seed: int, readers: int = READERS) -> None:
        numbers = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat().batch(size)
        options = grain.ReadOptions(num_threads=readers, prefetch_buffer_size=readers)
        self._ahead = iter(numbers.map(partial(read, source)).to_iter_dataset(options))
        self._next = 0

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if number != self._next:
            self._ahead.set_state({"next_index": number})
        self._next = number + 1
        return next(self._ahead)


def read(source: Source, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The examples of these numbers, stacked: x [N, …] and y [N, …]."""
    read_many = getattr(source, "__getitems__", None)
    pairs = read_many(numbers) if read_many else [source[int(number)] for number in numbers]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


class Window:
    """A moving window over blocks, beside examples that stay.

    It is kept as new arrays at every position: those of earlier ones may still be in use by running programs.
    """

    def __init__(self, blocks: Blocks, slots: int, fixed: Mapping[str, Batch]) -> None:
        self._blocks, self._slots, self._fixed, self._lock = blocks, slots, fixed, Lock()
        self._shown = range(0)
        self._arrays: dict[str, Batch] = {}

    def at(self, position: int) -> Mapping[str, Batch]:
        """'window' and the fixed examples at a position; the same object until another position is asked for."""
        wanted = range(position, position + self._slots)
        with self._lock:
            if self._shown != wanted:
                self._arrays, self._shown = {**self._fixed, "window": self._moved_to(wanted)}, wanted
            return self._arrays

    def _moved_to(self, wanted: range) -> Batch:
        missing = [number for number in wanted if number not in self._shown]
        if len(missing) == self._slots:
            return self._filled(wanted)
        window = self._arrays["window"]
        for number in missing:
            window = _written(window, self._blocks[number], np.int32(number % self._slots))
        return window

    def _filled(self, wanted: range) -> Batch:
        blocks = [self._blocks[number] for number in wanted]
        first = -wanted.start % self._slots  # of the blocks read, the one that belongs into slot 0
        ordered = blocks[first:] + blocks[:first]
        # jnp.array copies: an alias of a host array could be overwritten by donation.
        x, y = (jnp.array(np.concatenate(part)) for part in zip(*ordered, strict=True))
        return x, y


@jax.jit
def _written(window: Batch, block: tuple[np.ndarray, np.ndarray], slot: Array) -> Batch:
    return jax.tree.map(lambda w, b: lax.dynamic_update_slice_in_dim(w, b, slot * len(b), 0), window, block)


@dataclass(frozen=True, eq=False)
class Stream:
    """A dataset of which a window is on the device."""

    name: str
    kind: str
    input_shape: tuple[int, ...]
    classes: int
    window: Window
    decode: Callable[[Array], Array]
    """From examples as they are kept to a network's inputs."""

    @property
    def arrays(self) -> Mapping[str, Batch]:
        """Those at position 0."""
        return self.at(0)

    def at(self, position: int) -> Mapping[str, Batch]:
        """Of 'window', 'train' and 'test': x as it is kept [N, *input_shape], and y [N, …]."""
        return self.window.at(position)

    def sample(self, arrays: Mapping[str, Batch], key: Array, batch_size: int) -> Batch:
        """Draws training examples from the window, uniformly and with replacement."""
        x, y = arrays["window"]
        chosen = uniform_indices(key, batch_size, len(y))
        return self.decode(x[chosen]), y[chosen].astype(jnp.int32)

    def fixed(self, arrays: Mapping[str, Batch], split: str, count: int) -> Batch:
        """The first `count` examples of 'train' or 'test', or of the `FIXED` that are kept if they are fewer."""
        x, y = arrays[known(split)]
        return self.decode(x[:count]), y[:count].astype(jnp.int32)


def stream(
    name: str,
    splits: Mapping[str, Source],
    config: StreamedDataConfig,
    *,
    kind: str,
    classes: int,
    decode: Callable[[Array], Array],
) -> Stream:
    """A stream of the source 'train', evaluated on the first examples of 'train' and 'test'.

    Args:
        name: as in `data=<name>`.
        splits: the examples; x of any shape and type.
        config: sizes of window and block.
        kind: `images`, `tokens` or `features`.
        classes: number of labels; of text, the vocabulary.
        decode: from examples as they are kept to a network's inputs: normalises images, widens tokens.

    Raises:
        ConfigError: the window is larger than the training split.
    """
    examples = len(splits["train"])
    if config.window > examples:
        allowed = f"at most the {examples} training examples of {name}"
        raise ConfigError.value(
            "data.window", config.window, allowed, "Or raise data.in_memory_gib, and do not stream."
        )
    blocks = Blocks(splits["train"], config.block, config.order_seed)
    fixed = {split: _first(splits[split]) for split in SPLITS}
    shape = fixed["train"][0].shape[1:]
    return Stream(name, kind, shape, classes, Window(blocks, config.window // config.block, fixed), decode)


def _first(source: Source) -> Batch:
    x, y = read(source, range(min(FIXED, len(source))))
    return jnp.array(x), jnp.array(y)
