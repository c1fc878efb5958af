"""The code that README and guides show runs as it stands there, and does what is said of it."""

import re
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import mulo
from tests.commands_of_texts import TEXTS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(path, language):
    """Code blocks of a Markdown file, their indentation taken off."""
    found = BLOCK.findall((ROOT / path).read_text(encoding="utf-8"))
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, kind, text in found if kind == language]


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """Names after the guide's example was run."""
    scope = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        exec(blocks("docs/your_model.md", "python")[0], scope)
    return scope


EXECUTED = {"docs/your_model.md": 3, "README.md": 1}
"""How many blocks of Python the tests below run, by text."""


def test_every_block_of_python_is_run_by_a_test_here():
    found = {path: len(blocks(path, "python")) for path in TEXTS}
    assert {path: count for path, count in found.items() if count} == EXECUTED


def test_the_guides_example_trains(guide):
    losses = np.array(guide["losses"])
    assert losses[0] == pytest.approx(np.log(10), abs=1e-5)  # the output starts at 0
    assert losses[-10:].mean() < 1.2


def test_the_guides_example_is_short():
    code = [line for line in blocks("docs/your_model.md", "python")[0].splitlines() if line.strip()]
    assert len(code) < 40


def test_the_guide_shows_the_table_that_its_example_prints(guide):
    assert blocks("docs/your_model.md", "")[0].strip() == str(guide["mup"])


def test_the_guides_linen_module_is_known_by_its_layers(guide):
    exec(blocks("docs/your_model.md", "python")[2], guide)
    rows = {row.path: (row.role, row.fan_in) for row in guide["decoder"].rows}
    assert rows["ConvTranspose_0/kernel"] == ("output", 8)
    assert np.std(guide["variables"]["params"]["Conv_0"]["kernel"]) == pytest.approx((3 * 9) ** -0.5, rel=0.2)


def test_the_guides_attention_divides_logits_by_the_size_of_heads():
    scope = {"nnx": nnx}
    exec(blocks("docs/your_model.md", "python")[1], scope)
    query, key = np.random.default_rng(0).standard_normal((2, 1, 3, 1, 16), np.float32)
    logits = query[0, :, 0] @ key[0, :, 0].T / 16
    weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    value = np.eye(3, 16, dtype=np.float32)[None, :, None]
    np.testing.assert_allclose(scope["attention_fn"](query, key, value)[0, :, 0, :3], weights, rtol=1e-4)


def test_the_lines_of_the_readme_run(monkeypatch, jit):
    monkeypatch.chdir(ROOT)
    models = [nnx.eval_shape(lambda n=n: nnx.Linear(n, 3, rngs=nnx.Rngs(0))) for n in (8, 16)]
    scope = {"mulo": mulo, "model": models[0], "wider_model": models[1]}
    exec(next(block for block in blocks("README.md", "python") if "parametrize" in block), scope)
    params = {"kernel": np.ones((8, 3), np.float32), "bias": np.ones(3, np.float32)}
    state = scope["optimizer"].init(params)
    updates, _ = jit(scope["optimizer"].update)(params, state, params, value=1.0)
    assert all(np.all(np.isfinite(x)) and np.any(x) for x in updates.values())
