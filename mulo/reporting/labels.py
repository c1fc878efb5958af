"""How tables and pictures call things."""

from collections.abc import Mapping
from typing import Any

from mulo.config.registry import Schemas
from mulo.optimizers import Look

_PARAMETRIZATIONS = {
    "mup": "µP",
    "sp": "SP",
    "completep": "CompleteP",
    "mup_but_hidden": "µP but hidden",
    "mup_but_output": "µP but output",
    "mup_but_attention": "µP but attention",
}


def looks(learned: bool | None = None) -> Mapping[str, Look]:
    """What optimizers say of how to show them, by preset; None: of all, else of learned ones or of baselines alone."""
    optimizers: list[Any] = list(Schemas("optimizer").values())
    kept = [one for one in optimizers if learned is None or one.learned == learned]
    return {name: look for optimizer in kept for name, look in optimizer.looks.items()}


def label(name: str) -> str:
    """The printed name of an optimizer or a parametrization; what is not known stays as it is."""
    known = looks().get(name)
    return known.label if known else _PARAMETRIZATIONS.get(name, name)


def label_of_family(architecture: str) -> str:
    """The printed name of an architecture; what is not known stays as it is."""
    return getattr(Schemas("task").get(architecture), "label", architecture)
