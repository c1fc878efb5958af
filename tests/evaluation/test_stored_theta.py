"""Coordinate check under the meta-trained θ that the records hold, and under wrong multipliers."""

from pathlib import Path

import pytest

from mulo.checkpoint import load
from mulo.config import EmbeddedDataConfig, MLPConfig
from mulo.data import load as load_data
from mulo.evaluation.coordinate_check import coordinate_check
from mulo.evaluation.coordinate_rows import verdicts
from mulo.randomness import root
from mulo.tasks import make_tasks
from tests.distorted import Distorted

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
STORED = {"velo": "theta/velo_mup", "small_fc": "theta/small_fc_mup"}
WIDTHS, SEEDS = (64, 128, 256, 512, 1024), 8

pytestmark = pytest.mark.slow


def failures(name, power):
    stored, dataset = load(EXPERIMENTS / STORED[name]), load_data(EmbeddedDataConfig())
    tasks = make_tasks(MLPConfig(batch_size=64), "mup", dataset, list(WIDTHS))
    inputs, _ = dataset.fixed(dataset.arrays, "test", 64)
    settings = {"times": (1, 10), "seeds": SEEDS, "key": root(0), "names": (name, "mup")}
    distorted = [Distorted(task, power) for task in tasks]
    judged = verdicts(coordinate_check(distorted, stored.optimizer, stored.theta, inputs, **settings), 0.1)
    return list(judged[judged.failed].itertuples())


@pytest.mark.parametrize("name", STORED)
def test_mup_moves_the_same_at_every_width(name):
    assert failures(name, 0.0) == []


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("power", [0.5, -0.5])
def test_wrong_hidden_multipliers_are_caught(name, power):
    failed = {(verdict.measure, verdict.layer) for verdict in failures(name, power)}
    assert ("(W_t - W_0) x", "hidden_1") in failed
