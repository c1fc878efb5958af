"""Text as one long array of tokens per split, of which examples are sequences."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mulo.data.sources import SPLITS, known, uniform_indices
from mulo.errors import DataError
from mulo.types import Array, Batch


def token_type(vocabulary: int) -> np.dtype:
    """The smallest of uint8, uint16 and int32 that holds all tokens below `vocabulary`."""
    return np.dtype(np.uint8 if vocabulary <= 2**8 else np.uint16 if vocabulary <= 2**16 else np.int32)


@dataclass(frozen=True, eq=False)  # hashed by identity, as all datasets are
class Tokens:
    """Sequences of tokens as inputs, and for each token the one after it as label."""

    name: str
    input_shape: tuple[int]
    """(sequence length,)"""
    classes: int
    """Vocabulary size."""
    arrays: Mapping[str, Array]
    """Of 'train' and 'test': tokens [N] in the smallest type that holds them."""
    kind: str = "tokens"

    def at(self, position: int) -> Mapping[str, Array]:
        """The same arrays always."""
        del position
        return self.arrays

    def sample(self, arrays: Mapping[str, Array], key: Array, batch_size: int) -> Batch:
        """Draws sequences of the training text, each start as likely as every other, with replacement.

        Returns inputs and labels, int32 [batch, length].
        """
        tokens = arrays["train"]
        return self._sequences(tokens, uniform_indices(key, batch_size, tokens.shape[0] - self.input_shape[0]))

    def fixed(self, arrays: Mapping[str, Array], split: str, count: int) -> Batch:
        """The first `count` sequences of 'train' or 'test' that do not overlap, or all if there are fewer.

        Returns inputs and labels, int32 [count, length]: every label is predicted once.
        """
        tokens, length = arrays[known(split)], self.input_shape[0]
        count = min(count, (tokens.shape[0] - 1) // length)
        return self._sequences(tokens, length * jnp.arange(count, dtype=jnp.int32))

    def _sequences(self, tokens: Array, starts: Array) -> Batch:
        # No sequence passes the end: promising it saves a comparison and a selection per token.
        indices = starts[:, None] + jnp.arange(self.input_shape[0] + 1, dtype=jnp.int32)[None]
        sequence = widened(tokens.at[indices].get(mode="promise_in_bounds"))
        return sequence[:, :-1], sequence[:, 1:]


def widened(tokens: Array) -> Array:
    """int32, whatever the type they are kept in."""
    return tokens.astype(jnp.int32)


@dataclass(frozen=True, eq=False)
class TokenSource:
    """Random access to the sequences of `Tokens.fixed`, over an array that may lie in a file.

    Attributes:
        tokens: [N] integers, such as a memory-mapped file.
        length: tokens of one sequence.
    """

    tokens: np.ndarray
    length: int

    def __len__(self) -> int:
        """The number of sequences."""
        return max(0, (len(self.tokens) - 1) // self.length)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of one sequence, [length] each in the array's type; IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(f"Sequence {index} of {len(self)}.")
        start = self.length * index
        sequence = np.array(self.tokens[start : start + self.length + 1])
        return sequence[:-1], sequence[1:]


def check_length(name: str, host: Mapping[str, np.ndarray], length: int) -> None:
    """Raises DataError where a split is too short for one sequence."""
    for split in SPLITS:
        if len(host[split]) <= length:
            raise DataError(
                f"data.sequence_length={length} is invalid: the {split} text of {name} has {len(host[split])} "
                "tokens, expected at least {length + 1}. Choose a shorter sequence, or more text."
            )


def in_memory(name: str, host: Mapping[str, np.ndarray], vocabulary: int, length: int) -> Tokens:
    """Puts the tokens of both splits, integers [N], on the device; raises DataError where there are too few."""
    check_length(name, host, length)
    # jnp.array copies: an alias of a host array could be overwritten by donation.
    arrays = {split: jnp.array(host[split], token_type(vocabulary)) for split in SPLITS}
    return Tokens(name, (length,), vocabulary, arrays)
