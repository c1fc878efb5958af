"""An estimator that only this test knows: a row of traits, in every job that an estimator takes part in."""

import pytest

from mulo.config.estimators import ESTIMATORS, EstimatorTraits
from tests.tiny_jobs import planned, reported, run, settings


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """As NRES, but every outer step is a whole unroll."""
    monkeypatch.setitem(ESTIMATORS, "toy", EstimatorTraits(held=True, lockstep=True, whole=True))


def raw(folder):
    return settings(folder, recipe={"estimator": "toy"})


def test_it_meta_trains_and_is_reported(tmp_path):
    job = run(raw(tmp_path))
    assert (job / "evaluation/results.csv").exists()
    record, readme = reported(job, tmp_path)
    assert record["jobs"][0]["preparation"]["outer_steps"] == 2
    assert "meta-training, 2 outer steps" in readme


def test_it_is_planned(tmp_path):
    """A whole unroll of 2 to 4 steps per outer step costs more than a truncation of 2."""
    toy, pes = (planned(given, tmp_path) for given in (raw(tmp_path), settings(tmp_path)))
    steps = [{phase["name"]: phase["inner_steps"] for phase in plan["phases"]} for plan in (toy, pes)]
    assert steps[0]["one outer step"] > steps[1]["one outer step"]
