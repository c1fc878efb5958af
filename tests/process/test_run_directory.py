"""A run directory says which data the run saw, and keeps to them."""

import json

import pytest

from mulo.config import parse
from mulo.data import stdlib_text
from mulo.errors import ConfigError, DataError
from mulo.launch import attempt, preflight
from mulo.process.run_directory import open_run


def job(tmp_path, **settings):
    return parse({"run_dir": str(tmp_path / "run"), **settings})


@pytest.fixture
def library(monkeypatch):
    """Replaces the standard library's text by one of another digest."""

    def replace(digest):
        monkeypatch.setattr(stdlib_text, "read", lambda: stdlib_text.Sources(b"", b"", digest))

    return replace


TEXT = {"task": {"name": "transformer"}, "data": {"name": "stdlib_text"}}
MIXED = {"task": {"name": "mixed", "members": ["mlp", "transformer"], "text": {"name": "stdlib_text"}}}


@pytest.mark.parametrize("settings", [TEXT, MIXED], ids=["text", "mixed"])
def test_a_run_does_not_go_on_with_other_data(tmp_path, library, settings):
    library("a1")
    for _ in range(2):
        folder = open_run(job(tmp_path, **settings))
        assert json.loads((folder / "data.json").read_text(encoding="utf-8")) == {"stdlib_text": "a1"}
    library("b2")
    with pytest.raises(DataError, match=r"a run on other data: stdlib_text had another SHA-256"):
        open_run(job(tmp_path, **settings))
    assert json.loads((folder / "data.json").read_text(encoding="utf-8")) == {"stdlib_text": "a1"}


def test_data_that_are_the_same_everywhere_need_no_note(tmp_path):
    assert [path.name for path in open_run(job(tmp_path)).iterdir()] == ["config.yaml"]


def test_nothing_is_made_where_data_are_missing(tmp_path):
    with pytest.raises(DataError, match=r"data\.path is not set"):
        open_run(job(tmp_path, task={"name": "transformer"}, data={"name": "lm1b"}))
    assert not (tmp_path / "run").exists()


LONG = "/".join(["x" * 100] * 39)
"""Makes a path that a folder may have, and files far inside it may not."""


@pytest.mark.parametrize("place", ["/proc/mulo/run", "/proc/self", "y" * 300, LONG])
def test_a_place_that_cannot_be_written_is_refused_and_left_as_it_was(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be written: .*\. Choose another path with run_dir=<path>\.$"):
        attempt.alone(preflight.resolve({"mode": "parameters", "run_dir": place, "logger": {"name": "none"}}, []))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_cannot_be_written_is_refused():
    with pytest.raises(ConfigError, match=r"^/proc cannot be written: .* Choose another path with plan.output=<file>"):
        preflight.resolve({"mode": "plan", "plan": {"output": "/proc/plan.json"}}, [])
