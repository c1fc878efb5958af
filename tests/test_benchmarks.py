"""The benchmarks measure what they say, and texts quote what was measured."""

import re
import stat

import jax
import jax.numpy as jnp
import pytest

from benchmarks import contestant, original, quotes, record, table, update
from mulo.optimizers import AdamW

STORED = record.read()


def test_a_step_that_returns_its_state_in_another_order_is_refused():
    """JAX gives donated buffers to results in their order: XLA would copy all of them."""
    state = (jnp.zeros((8, 8)), jnp.ones((4, 4)))
    with pytest.raises(ValueError, match="in the same order"):
        contestant.in_place(lambda own, _: own[::-1], state, None)
    compiled = contestant.in_place(lambda own, g: (own[0] + g, own[1] + g), state, jnp.float32(1)).compile()
    assert compiled.memory_analysis().alias_size_in_bytes == 4 * (64 + 16)


def test_adam_is_updated_in_place():
    step, begin = update.update_of(AdamW())
    params = jax.eval_shape(lambda: contestant.network(64))
    compiled = contestant.in_place(step, jax.eval_shape(begin, params), params).compile()
    entries = sum(x.size for x in jax.tree.leaves(params))
    assert compiled.memory_analysis().temp_size_in_bytes < 0.01 * entries
    assert compiled.memory_analysis().alias_size_in_bytes >= 12 * entries  # two moments and the parameters


def test_a_contestant_times_its_turns():
    own = contestant.Contestant(lambda state, g: state + g, jnp.zeros(100), jnp.ones(100))
    assert (own.parameters, own.times) == (100, [])
    own.turn()
    own.turn()
    assert len(own.times) == 2 * contestant.CALLS
    assert float(own.state[0]) == 1 + 2 * (contestant.CALLS + 1)  # every call moved it, the untimed ones too


def test_a_step_without_donation_is_no_contestant(monkeypatch):
    real = jax.jit
    monkeypatch.setattr(jax, "jit", lambda f, **_: real(f))
    with pytest.raises(RuntimeError, match="donated"):
        contestant.Contestant(lambda own, g: own + g, jnp.zeros(100), jnp.ones(100))


def test_stored_adam_has_no_copies():
    adam = [row for row in STORED if row["benchmark"] == "update" and row["form"] == "optax"]
    assert [row["width"] for row in adam] == list(update.WIDTHS)
    assert max(row["scratch_bytes_per_parameter"] for row in adam) < 0.01


def test_the_original_takes_its_turns_in_a_process_of_its_own(tmp_path):
    other = tmp_path / "python"
    other.write_text(
        """#!/bin/sh
echo '{"parameters": 10, "scratch": 1.5, "compile_s": 2, "version": "abc"}'
while read line; do echo "[0.001, 0.003]"; done
""",
        "utf-8",
    )
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    one = original.Original(str(other), "velo", 8)
    one.turn()
    one.turn()
    assert (one.parameters, one.scratch, one.version, one.times) == (10, 1.5, "abc", [0.001, 0.003] * 2)
    assert one.ms == pytest.approx(2)
    one.close()


def test_an_original_that_cannot_start_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="ended with code 1"):
        original.Original("/bin/false", "velo", 8)


def rows_by_hand():
    """At equal sizes the original takes 30 and 20 ms where the kernel takes 2 and 4, and Adam 0.5 and 2."""
    base = {"benchmark": "update", "architecture": "velo", "hidden": 4, "lstm": "512/256", "version": "abc"}
    found = []
    for width, times in {128: (30.0, 2.0, 0.5), 512: (20.0, 4.0, 2.0)}.items():
        for form, ms in zip((original.FORM, "native", "optax"), times, strict=True):
            found.append(base | {"width": width, "form": form, "ms_median": ms, "ratio_to_adam": ms / times[2]})
    smaller = base | {"lstm": "16/8", "form": "native", "ms_median": 1.0, "ratio_to_adam": 2.0}
    return [*found, smaller | {"width": 128}, smaller | {"width": 512}]


def test_quotations_follow_from_the_rows():
    """By hand: 30/2 and 20/4 times as fast; 4 and 2 times as long as Adam; the smaller LSTM has no like."""
    text = "<!-- bench:originals -->9<!-- /bench --> and <!-- bench:to_adam -->9<!-- /bench -->"
    first, second = quotes.filled(text, rows_by_hand()).split(" and ")
    assert "5 to 15 times as fast for VeLO" in first
    assert "| velo, hidden 4, LSTM 512/256 | 4.0 | 2.0 |" in second


@pytest.mark.parametrize("path", quotes.TEXTS, ids=lambda path: path.name)
def test_texts_quote_what_was_measured(path):
    text = path.read_text("utf-8")
    assert "<!-- bench:" in text
    assert text == quotes.filled(text, STORED)


@pytest.mark.parametrize("path", quotes.TEXTS, ids=lambda path: path.name)
def test_no_ratio_stands_outside_of_the_quotations(path):
    others = re.sub(r"<!-- bench:.*?<!-- /bench -->", "", path.read_text("utf-8"), flags=re.DOTALL)
    assert not re.findall(r"[0-9]+(?:\.[0-9]+)? ?(?:times as (?:fast|long)|× (?:Adam|as fast))", others)


def test_the_figure_is_drawn_from_the_stored_results(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    table.figure(STORED)
    assert (tmp_path / "latest.png").stat().st_size > 10_000
