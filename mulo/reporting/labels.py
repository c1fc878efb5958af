"""Printed names in tables and pictures."""

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
    """How to show optimizers, by preset; None: all, else learned ones or baselines alone."""
    optimizers: list[Any] = list(Schemas("optimizer").values())
    shown = [optimizer for optimizer in optimizers if learned is None or optimizer.learned == learned]
    return {name: look for optimizer in shown for name, look in optimizer.looks.items()}


THETA0 = "_theta0"
"""Ends the name of an optimizer with the θ that its meta-training began with."""


def label(name: str) -> str:
    """The printed name of an optimizer or a parametrization; others are returned unchanged."""
    if name.endswith(THETA0):
        return f"{label(name.removesuffix(THETA0))} θ0"
    known = looks().get(name)
    return known.label if known else _PARAMETRIZATIONS.get(name, name)


def label_of_family(architecture: str) -> str:
    """The printed name of an architecture; others are returned unchanged."""
    return getattr(Schemas("task").get(architecture), "label", architecture)
