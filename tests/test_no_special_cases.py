"""Nobody but an optimizer itself, and what configures it, asks which one it is."""

import ast
from pathlib import Path

import pytest

import mulo
from mulo.config.registry import Schemas

ROOT = Path(mulo.__file__).parent
SCHEMAS = Schemas("optimizer")
NAMES = {name for schema in SCHEMAS.values() for name in (schema().architecture, schema().name, *schema.looks)}
CLASSES = {schema.__name__ for schema in SCHEMAS.values()}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in ("optimizers", "config")]


def special_cases(tree):
    """Lines that import or mention an optimizer's class, or have its name as a string."""
    for node in ast.walk(tree):
        mentioned = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        if isinstance(node, ast.alias | ast.Name | ast.Attribute) and mentioned in CLASSES:
            yield node.lineno, mentioned
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_tests_for_a_concrete_optimizer(path):
    assert list(special_cases(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize("code", ["isinstance(x, VeLO)", 'x.name == "mu_adam"', "from mulo.optimizers import Muon"])
def test_a_special_case_would_be_seen(code):
    assert list(special_cases(ast.parse(code)))
