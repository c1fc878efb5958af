"""What a configuration or a checkpoint may name: optimizers, tasks and datasets. Nothing outside can be named.

A schema is a dataclass of `settings`; one that is registered as text, `module:Class`, is imported when first asked for.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

_SELECTORS = {"optimizer": "architecture", "task": "architecture", "data": "name"}
"""Per group: the setting that chooses the schema."""
_SCHEMAS: dict[str, dict[str, type | str]] = {group: {} for group in _SELECTORS}

GROUPS = tuple(_SELECTORS)


def selector(group: str) -> str:
    """The setting that chooses the schema of a group, such as `architecture` for optimizers."""
    return _SELECTORS[group]


def register(group: str, name: str, schema: type | str) -> None:
    """Adds a schema, so that `name` can be chosen; code alone can do so, never a configuration."""
    _SCHEMAS[group][name] = schema


def imported(reference: Any) -> Any:
    """What `module:Class` names, if it is text; anything else is the class itself."""
    if not isinstance(reference, str):
        return reference
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


class Schemas(Mapping[str, type]):
    """Schemas of a group by name."""

    def __init__(self, group: str) -> None:
        self._schemas = _SCHEMAS[group]

    def __getitem__(self, name: str) -> type:
        schema = self._schemas[name] = imported(self._schemas[name])
        return schema

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)
