"""The text of every record is what its stored data say."""

import importlib
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RECORDS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/record.py"))


@pytest.mark.parametrize("name", RECORDS)
def test_the_record_follows_from_its_data(name):
    record = importlib.import_module(f"experiments.{name}.record")
    assert (EXPERIMENTS / name / "README.md").read_text() == record.readme()
