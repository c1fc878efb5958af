"""Between θ and its safetensors file: arrays by the names of their paths, and nothing else that could be executed."""

import json
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from mulo import trees
from mulo.errors import CheckpointError
from mulo.files import replacing
from mulo.types import Theta
from mulo.weights import Card, card_of, damaged


def serialized(theta: Theta) -> bytes:
    """The content of the file: the same for the same θ."""
    arrays = [np.ascontiguousarray(x) for x in jax.tree.leaves(theta)]
    return safetensors.save(dict(zip(trees.names(theta), arrays, strict=True)))


def write(file: Path, content: bytes, card: Card) -> None:
    """Writes both files, the card last."""
    with replacing(file) as partial:
        partial.write_bytes(content)
    with replacing(card_of(file)) as partial:
        partial.write_text(json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path, like: Theta) -> Theta:
    """θ in the structure of `like`, an optimizer's fresh θ or its shapes.

    Raises:
        CheckpointError: the file is damaged, or its arrays are not those of this optimizer.
    """
    try:
        arrays = safetensors.load(file.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(damaged(file, error)) from error
    leaves, structure = jax.tree.flatten(like)
    expected = dict(zip(trees.names(like), leaves, strict=True))
    found, wanted = ({name: (x.shape, str(x.dtype)) for name, x in named.items()} for named in (arrays, expected))
    if found != wanted:
        raise CheckpointError(damaged(file, _difference(found, wanted)))
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in expected])


def _difference(found: dict[str, tuple], wanted: dict[str, tuple]) -> str:
    """The first array that is not as the settings on the card have it."""
    name = next(name for name in [*wanted, *found] if found.get(name) != wanted.get(name))
    there, expected = (
        "no array" if given is None else f"{given[1]} of shape {list(given[0])}"
        for given in (found.get(name), wanted.get(name))
    )
    return f"{name} is {there}; expected {expected} by the settings on the card"
