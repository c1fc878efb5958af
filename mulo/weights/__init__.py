"""θ as two portable files: its arrays as safetensors, and beside them a card that says what they are. Without JAX.

What ships with mulo lies in this folder and is named without one, as `mulo.load("<name>")`; mode=export writes more.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mulo.errors import CheckpointError
from mulo.version import __version__

FOLDER = Path(__file__).parent
SUFFIX, CARD_SUFFIX = ".safetensors", ".json"
FORMAT = 1


@dataclass(frozen=True)
class Card:
    """What the arrays are, how they came about, and what is known of them."""

    sha256: str
    """Of the safetensors file."""
    optimizer: Mapping[str, Any]
    """Its settings, parsed by the schemas that parse the command line's."""
    step: int
    """Outer steps done."""
    config: Mapping[str, Any]
    """What decides θ, resolved: seed (the meta-seed), optimizer, task, data, recipe."""
    digests: Mapping[str, str]
    """Of `theta`, as a checkpoint has it."""
    mulo_version: str
    format: int = FORMAT
    core_hours: float | None = None
    """Of the meta-training, over all starts; None: not known."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Commit, processor, cores, accelerator and versions of the meta-training; empty: not known."""
    evaluation: list[dict[str, Any]] = field(default_factory=list)
    """Rows of mean final losses over seeds, by method, network and number of steps."""
    loses: list[str] = field(default_factory=list)
    """Where it loses, in words."""


def shipped() -> list[str]:
    """Names of the weights in this folder."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def find(path: str | Path) -> Path | None:
    """The safetensors file that a user's path means; None where it means something else, as a checkpoint's folder.

    A word without a folder that is no existing path names what ships.
    """
    path = Path(path).expanduser()
    if path.suffix == SUFFIX:
        return path
    known = len(path.parts) == 1 and not path.exists() and path.name in shipped()
    return FOLDER / f"{path.name}{SUFFIX}" if known else None


def card_of(file: Path) -> Path:
    """Where the card of a safetensors file is."""
    return file.with_suffix(CARD_SUFFIX)


def read_card(file: Path) -> Card:
    """Reads a card, and compares the file beside it with the SHA-256 there.

    Raises:
        CheckpointError: one of them is missing or damaged, or of a newer format.
    """
    for path in (file, card_of(file)):
        if not path.is_file():
            advice = f"Weights are two files, {file.name} and {card_of(file).name}, side by side."
            raise CheckpointError(f"{path} does not exist. {advice}")
    try:
        raw = json.loads(card_of(file).read_text(encoding="utf-8"))
        if raw["format"] > FORMAT:
            advice = f"mulo {raw['mulo_version']} wrote it; this is mulo {__version__}: upgrade."
            raise CheckpointError(f"{card_of(file)} has format {raw['format']}; expected at most {FORMAT}. {advice}")
        card = Card(**{spec.name: raw[spec.name] for spec in fields(Card)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(damaged(card_of(file), f"{type(error).__name__}: {error}")) from error
    if sha256(file.read_bytes()) != card.sha256:
        raise CheckpointError(damaged(file, "its SHA-256 is not that on its card"))
    return card


def sha256(content: bytes) -> str:
    """As 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def damaged(path: Path, reason: object) -> str:
    """The text of an error."""
    return f"The weights {path} are damaged ({reason}). Copy, install or export them again."
