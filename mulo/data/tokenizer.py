"""SentencePiece: byte-pair encoding that loses nothing, trained here or read from a model file."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from mulo.data.text import token_type
from mulo.errors import DataError

_SPACE = "▁"
"""SentencePiece's sign for a space: in a text, this character itself would come back as a space."""
_SETTINGS: dict[str, Any] = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,  # indentation
    "user_defined_symbols": ["\n"],  # ends a piece, so that lines can be encoded one by one
    "unk_id": 0,
    "eos_id": 1,
    "bos_id": -1,
    "pad_id": -1,
    "minloglevel": 2,
}


def settings_digest() -> str:
    """Tells the settings of training apart from those of other versions of mulo and SentencePiece."""
    return hashlib.sha256(repr((sentencepiece.__version__, _SETTINGS)).encode()).hexdigest()


def train(lines: Iterable[str], vocabulary: int) -> bytes:
    """A SentencePiece model of `vocabulary` tokens; equal lines give equal bytes.

    Of the vocabulary 256 are single bytes and three are unknown, end of sentence and newline. DataError where the text
    has too few or too many different characters for its size.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, vocab_size=vocabulary, **_SETTINGS
        )
    except RuntimeError as error:
        raise DataError(f"data.vocabulary={vocabulary} does not fit this text: {error}") from error
    return model.getvalue()


class Tokenizer:
    """Text to tokens and back.

    Attributes:
        vocabulary: number of tokens.
        end: token that ends a sentence; -1 where the model has none.
        digest: SHA-256 of the model.
    """

    def __init__(self, model: bytes) -> None:
        """Takes a serialised model; RuntimeError where it is none."""
        self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocabulary, self.end = self._model.vocab_size(), self._model.eos_id()
        self.digest = hashlib.sha256(model).hexdigest()
        self._space = [self._model.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE.encode()]
        self._has_bytes = all(map(self._model.is_byte, self._space))

    def encode(self, texts: Sequence[str], end: bool = False) -> np.ndarray:
        """The tokens of all texts one after another, each followed by `end` if asked for: [N], smallest type."""
        ids = self._model.encode(list(texts))
        for number, text in enumerate(texts):
            if _SPACE in text and self._has_bytes:
                ids[number] = self._spelled(text)
            if end:
                ids[number].append(self.end)
        return np.fromiter(chain.from_iterable(ids), token_type(self.vocabulary))

    def _spelled(self, text: str) -> list[int]:
        first, *rest = self._model.encode(text.split(_SPACE))
        return first + [token for part in rest for token in (*self._space, *part)]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of tokens; what they cannot spell is the model's sign for unknown."""
        return self._model.decode([int(token) for token in tokens])


def read(path: Path) -> Tokenizer:
    """Reads a SentencePiece model (a protocol buffer); raises DataError where there is none."""
    try:
        return Tokenizer(path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as a SentencePiece model: {error}") from error
