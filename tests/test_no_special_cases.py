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
PACKAGE = mulo.__name__
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in ("optimizers", "config")]


def special_cases(tree):
    """Lines that import or mention an optimizer's class, or have its name as a string.

    A preset has the package's own name, which says no optimizer but where something is compared with it.
    """
    compared = [part for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in ast.walk(node)]
    for node in ast.walk(tree):
        mentioned = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        if isinstance(node, ast.alias | ast.Name | ast.Attribute) and mentioned in CLASSES:
            yield node.lineno, mentioned
        if isinstance(node, ast.Constant) and node.value in NAMES and (node.value != PACKAGE or node in compared):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_tests_for_a_concrete_optimizer(path):
    assert list(special_cases(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    ["isinstance(x, VeLO)", 'x.name == "mu_adam"', 'x.name in ("lo", "mulo")', "from mulo.optimizers import Muon"],
)
def test_a_special_case_would_be_seen(code):
    assert list(special_cases(ast.parse(code)))


def test_the_packages_name_is_none_where_nothing_is_compared_with_it():
    assert len(list(special_cases(ast.parse('x.name == "mulo"')))) == 1
    assert not list(special_cases(ast.parse('folder / "mulo"')))
