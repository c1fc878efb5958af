"""Imports run only downwards through the layers; only run.py knows Hydra; importing mulo is cheap."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import mulo

LAYERS = [
    ["version", "errors", "types", "cost"],
    ["distributed"],
    ["trees", "cache", "files", "locks", "provenance"],
    ["kernel_library", "randomness", "sharding"],
    ["placement"],
    ["config"],
    ["parametrization"],
    ["roles"],
    ["data"],
    ["process"],
    ["models"],
    ["tasks"],
    ["optimizers"],
    ["unroll", "devices"],
    ["weights"],
    ["checkpoint_folders", "checkpoint_arrays"],
    ["checkpoint"],
    ["meta", "evaluation"],
    ["planning"],
    ["exchange"],
    ["reporting"],
    ["jobs"],
    ["launch"],
    ["run"],
]
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
STRANGERS = [{"tasks", "optimizers"}, {"meta", "tasks"}, {"meta", "optimizers"}, {"evaluation", "tasks"}]
STRANGERS += [{"evaluation", "optimizers"}, {"evaluation", "meta"}]
"""Pairs that know each other only through the protocols of types.py."""
ROOT = Path(mulo.__file__).parent


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "mulo" and len(parts) > 1 and parts[1] in DEPTH else None


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports(path):
        other = layer(module)
        if other is None or other == own:
            continue
        assert DEPTH[other] < DEPTH[own], f"{own} imports {other}"
        assert {own, other} not in STRANGERS, f"{own} imports {other}"


def test_every_module_has_a_layer():
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} <= set(DEPTH)


def test_the_test_sees_imports(tmp_path):
    (tmp_path / "x.py").write_text("def f():\n    from mulo.launch import dispatch\n", encoding="utf-8")
    assert "launch" in {layer(module) for module in imports(tmp_path / "x.py")}


def test_no_two_classes_share_a_name():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]


def test_only_run_imports_hydra():
    users = [path.name for path in FILES if any(module.startswith("hydra") for module in imports(path))]
    assert users == ["run.py"]


@pytest.mark.parametrize(
    "code", ["import mulo", "import mulo.config", "from mulo.launch import preflight", "import mulo.run"]
)
def test_cheap_imports_leave_jax_and_wandb_alone(code):
    script = f"{code}; import sys; print([m for m in ('jax', 'wandb', 'flax', 'orbax', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
