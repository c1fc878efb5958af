"""The dataclasses' defaults as plain dictionaries: what files under conf/ begin with, and say only the differences to.

They are no types to Hydra, so that `parse` alone checks what is given and says what is wrong.
"""

from dataclasses import fields, is_dataclass
from typing import Any

from mulo.config import registry
from mulo.config.evaluation import EvaluationConfig, TuningConfig
from mulo.config.recipe import RecipeConfig
from mulo.config.root import Config, LoggerConfig


def defaults() -> dict[str, dict[str, Any]]:
    """By the dataclass's name: all settings with their defaults, of all that a configuration can be made of."""
    chosen = [schema for group in registry.GROUPS for schema in registry.Schemas(group).values()]
    schemas = dict.fromkeys([Config, RecipeConfig, EvaluationConfig, TuningConfig, LoggerConfig, *chosen])
    return {schema.__name__: _plain(schema()) for schema in schemas}


def _plain(settings: Any) -> dict[str, Any]:
    """What belongs to a group is null: another file of conf/ holds it."""
    values = {spec.name: getattr(settings, spec.name) for spec in fields(settings) if not spec.metadata.get("group")}
    plain = {name: _plain(value) if is_dataclass(value) else value for name, value in values.items()}
    return {spec.name: plain.get(spec.name) for spec in fields(settings)}
