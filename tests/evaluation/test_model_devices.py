"""One network spread over several devices is trained as on one, and no device holds all of it.

On one device, updates go through the native kernel, which recorded trajectories check: another implementation than
the one that works on parts.
"""

import csv
import json

import jax
import numpy as np
import pytest

from mulo.errors import ConfigError
from mulo.evaluation.model_devices import model_mesh
from tests.command import mulo, python_on

SMALLEST_MATRIX = 2 * 32 * 12
"""Entries of the output matrices of the two seeds that `over_devices` trains; activations have fewer."""


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


SLOW = ("velo", "celo2", "celo2_orthogonal", "mu_adam", "small_fc_options", "velo_options", "celo2_options")


@pytest.fixture(scope="module", params=["small_fc", *map(slow, SLOW)])
def compared(request, compiler_options):
    """The architecture, and what `over_devices` finds about it on 1, 2 and 4 devices."""
    output = python_on(4, "-m", "tests.evaluation.over_devices", request.param, json.dumps(compiler_options))
    return request.param, json.loads(output)


def test_updates_and_trainings_agree(compared):
    """Up to float32 rounding: sums are added up in another order, which moves an update by a few times 1e-7, and
    Newton–Schulz multiplies that by its slope of 3.4 per step; 20 steps do not let it grow much."""
    _, results = compared
    assert results["updates"] <= 1e-5
    assert max(results[devices]["losses"] for devices in "124") <= 1e-4
    assert results["moved"] > 5e-3


def test_each_device_holds_its_share(compared):
    """All but vectors and the small moments of rows and columns."""
    _, results = compared
    for devices in (1, 2, 4):
        assert results[str(devices)]["share"] <= 1 / devices + 0.08


def test_no_whole_matrix_travels(compared):
    """A whole step, forward and backward pass included, sends activations, vectors and means; Newton–Schulz needs
    whole matrices, which also shows that one would be seen."""
    name, results = compared
    for devices in "24":
        assert 0 < results[devices]["reduced"] < SMALLEST_MATRIX
        assert (results[devices]["gathered"] >= SMALLEST_MATRIX) == (name == "celo2_orthogonal")


def losses(path):
    with path.open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_the_setting_spreads_an_evaluation(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    small = [
        "task=mlp",
        "task.width=8",
        "task.batch_size=8",
        "evaluation.num_steps=4",
        "evaluation.seeds=2",
        "logger=none",
    ]
    for devices in (1, 2):
        arguments = [f"evaluation.model_devices={devices}", f"run_dir=on{devices}", "evaluation.baselines=[]"]
        done = mulo("mode=evaluate", "optimizer=mu_adam", *small, *arguments, cwd=tmp_path)
        assert done.code == 0, done.err
        assert ("each network on 2 devices" in done.out) == (devices == 2)
    alone, spread = (losses(tmp_path / f"on{devices}/results.csv") for devices in (1, 2))
    assert len(alone) == 2 * 3
    np.testing.assert_allclose(spread, alone, rtol=1e-4)


def test_more_devices_than_there_are_is_an_error():
    count = jax.local_device_count()
    with pytest.raises(ConfigError, match=rf"model_devices={count + 1} .*devices, {count} \(.*JAX_NUM_CPU_DEVICES"):
        model_mesh(count + 1)
    assert model_mesh(1) is None
