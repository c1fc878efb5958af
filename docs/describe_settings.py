"""docs/settings.md from the dataclasses and their docstrings: `python -m docs.describe_settings > docs/settings.md`."""

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

from mulo.config import registry
from mulo.config.root import Config
from mulo.config.settings import describe
from mulo.config.tasks import TaskBase

_HEAD = """# Settings

Written by `python -m docs.describe_settings`. Files under `conf/` are presets: they say what differs from these,
and `python -m mulo.run --help` shows what holds after all. Each key is set on the command line as `key=value`.
"""


def page() -> str:
    """One table of all settings outside of groups, and one for each choice of every group."""
    sections = [_section("all jobs", Config, "")]
    for group in registry.GROUPS:
        schemas = dict.fromkeys(registry.Schemas(group).values())
        sections += [_section(f"{group}: {schema.__name__}", schema, f"{group}.") for schema in schemas]
    return "\n".join([_HEAD, *sections])


def _section(title: str, schema: type, prefix: str) -> str:
    rows = [("key", "default", "allowed", "meaning"), ("---",) * 4, *_rows(schema(), prefix)]
    lines = [f"| {' | '.join(cell.replace('|', 'or') for cell in row)} |\n" for row in rows]
    return f"## {title}\n\n{' '.join((schema.__doc__ or '').split())}\n\n{''.join(lines)}"


def _rows(settings: Any, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    meanings = _meanings(type(settings))
    for spec in fields(settings):
        value, key, limits = getattr(settings, spec.name), f"{prefix}{spec.name}", spec.metadata.get("limits")
        if spec.metadata.get("group") or isinstance(value, TaskBase):
            yield f"`{key}`", "", f"settings of `{spec.metadata.get('group', 'task')}`", meanings.get(spec.name, "")
        elif is_dataclass(value):
            yield from _rows(value, f"{key}.")
        else:
            allowed = describe(limits) if limits else str(getattr(spec.type, "__name__", spec.type))
            yield f"`{key}`", f"`{json.dumps(value, ensure_ascii=False)}`", allowed, meanings.get(spec.name, "")


def _meanings(schema: type) -> dict[str, str]:
    """The docstrings under the fields, of what the class inherits too."""
    meanings = {}
    for part in reversed(schema.__mro__[:-1]):
        body = ast.parse(inspect.getsource(part)).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                meanings[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # type: ignore[union-attr]
    return meanings


if __name__ == "__main__":
    print(page(), end="")
