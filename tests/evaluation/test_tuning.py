"""Tuning finds what an exhaustive search by hand finds."""

import math

import jax
import numpy as np
import pandas as pd
import pytest

from mulo import randomness
from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.evaluation.rollout import rollout
from mulo.evaluation.tuning import as_text, baseline_theta, best, combinations, try_settings
from mulo.optimizers import AdamW
from mulo.tasks import make_tasks

GRID = {"learning_rate": [0.001, 0.1, 1e30], "b1": [0.9], "b2": [0.99], "weight_decay": [0.0]}
KEY = randomness.root(5)


@pytest.fixture(scope="module")
def task():
    return make_tasks(MLPConfig(width=4, depth=1, batch_size=8), "sp", load(SyntheticDataConfig(shape=[3])))[0]


def test_every_value_meets_every_other():
    settings = combinations({"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0]})
    assert len(settings) == 6
    assert {(values["a"], values["b"]) for values in settings} == {(a, b) for a in (1, 2) for b in (3, 4, 5)}


@pytest.mark.slow
def test_trials_are_the_trainings_that_each_setting_has_alone(task):
    optimizer = AdamW()
    trials = try_settings(task, optimizer, combinations(GRID), num_steps=8, seeds=2, key=KEY)
    for settings in combinations(GRID):
        rows = trials[(trials[list(GRID)] == as_text(settings)).all(axis=1)]
        alone = rollout(task, optimizer, AdamW(**settings).init(KEY), num_steps=8, seeds=2, key=KEY)
        assert list(rows.seed) == [0, 1]
        np.testing.assert_allclose(rows.loss, alone.train_loss, rtol=1e-4)
    settings, loss = best(trials, list(GRID))
    assert settings == {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99, "weight_decay": 0.0}
    assert loss == pytest.approx(trials.loss[trials.learning_rate == "0.1"].mean())


def test_a_setting_that_diverged_is_never_the_best():
    losses = pd.DataFrame({"a": ["1.0", "1.0", "2.0", "2.0", "3.0"], "loss": [0.1, math.nan, 8.0, 10.0, 9.0]})
    assert best(losses, ["a"]) == ({"a": 2.0}, 9.0)  # of equals the first
    assert best(losses[:2], ["a"]) == ({"a": 1.0}, math.inf)


def test_baseline_theta_is_the_baselines_own():
    own = AdamW(learning_rate=0.3, b1=0.8, b2=0.7, weight_decay=0.1).init(KEY)
    made = baseline_theta({"learning_rate": 0.3, "b1": 0.8, "b2": 0.7, "weight_decay": 0.1})
    jax.tree.map(np.testing.assert_array_equal, made, own)
