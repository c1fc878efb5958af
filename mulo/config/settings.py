"""How a setting declares its range, and how the range is checked."""

import math
import os
from collections.abc import Collection
from dataclasses import MISSING, Field, field, fields, is_dataclass, replace
from typing import Any

from mulo.errors import ConfigError


def setting(
    default: Any = MISSING,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: Collection[str] | None = None,
    path: bool = False,
    group: str | None = None,
    each: bool = False,
) -> Any:
    """A dataclass field with its allowed range: `low` ≤ x ≤ `high`, `above` < x < `below`, or one of `choices`.

    The range of a list holds for each of its entries, and a list must not be empty. A `path` may begin with `~`.
    What belongs to a `group` of the registry is settings of one of its schemas, whose selector says which; with `each`
    a mapping from names to such settings. A default may be a function that makes it.
    """
    limits: dict[str, Any] = {"low": low, "above": above, "high": high, "below": below, "choices": choices}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    metadata = {"limits": limits, "path": path, "group": group, "each": each}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


_SIGNS = {"low": "≥", "above": ">", "high": "≤", "below": "<"}


def describe(limits: dict[str, Any]) -> str:
    """Words for a range, such as `a number ≥ 1`."""
    if "choices" in limits:
        return "one of " + ", ".join(limits["choices"])
    bounds = [f"{sign} {limits[name]:g}" for name, sign in _SIGNS.items() if name in limits]
    return "a finite number " + " and ".join(bounds)


def _fits(value: Any, limits: dict[str, Any]) -> bool:
    if "choices" in limits:
        return value in limits["choices"]
    return (
        math.isfinite(value)
        and value >= limits.get("low", -math.inf)
        and value <= limits.get("high", math.inf)
        and ("above" not in limits or value > limits["above"])
        and ("below" not in limits or value < limits["below"])
    )


def _check_field(key: str, value: Any, spec: Field) -> None:
    limits = spec.metadata.get("limits", {})
    if isinstance(value, str) and not value.strip() and spec.default != "":
        allowed = "a text that is not empty" if spec.default is not None else "null, or a text that is not empty"
        raise ConfigError.value(key, value, allowed, f"Leave {key} away, or see that the shell's variable is set.")
    if value is None or not limits:
        return
    if isinstance(value, list | tuple) and not value:
        raise ConfigError.value(key, value, "a list of at least one entry")
    for entry in value if isinstance(value, list | tuple) else [value]:
        if not _fits(entry, limits):
            raise ConfigError.value(key, value, describe(limits))


def check(settings: Any, prefix: str = "") -> None:
    """Checks all ranges of a dataclass and of those inside it; raises ConfigError naming the first misfit."""
    for spec in fields(settings):
        value, key = getattr(settings, spec.name), f"{prefix}{spec.name}"
        if is_dataclass(value):
            check(value, f"{key}.")
        else:
            _check_field(key, value, spec)
    if hasattr(settings, "check_together"):
        settings.check_together(prefix)


def expanded(settings: Any) -> Any:
    """The same settings with `~` at the start of paths replaced by the home directory, as shells do it."""
    changed = {}
    for spec in fields(settings):
        value = getattr(settings, spec.name)
        if is_dataclass(value):
            changed[spec.name] = expanded(value)
        elif spec.metadata.get("path") and value is not None:
            changed[spec.name] = os.path.expanduser(value)
    return replace(settings, **changed)
