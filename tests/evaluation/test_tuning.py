"""Tuning finds what an exhaustive search by hand finds."""

import math

import jax
import numpy as np
import pytest

from mulo import randomness
from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.evaluation.rollout import rollout
from mulo.evaluation.tuning import Trial, best, combinations, theta_of, try_settings
from mulo.optimizers import AdamW
from mulo.tasks import make_tasks

GRID = {"learning_rate": [0.001, 0.1, 1e30], "b1": [0.9], "b2": [0.99], "weight_decay": [0.0]}
KEY = randomness.root(5)


@pytest.fixture(scope="module")
def task():
    return make_tasks(MLPConfig(width=4, depth=1, batch_size=8), "sp", load(SyntheticDataConfig(shape=[3])))[0]


def test_every_value_meets_every_other():
    found = combinations({"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0]})
    assert len(found) == 6
    assert {(own["a"], own["b"]) for own in found} == {(a, b) for a in (1, 2) for b in (3, 4, 5)}


def test_trials_are_the_trainings_that_each_setting_has_alone(task):
    optimizer = AdamW()
    trials = try_settings(task, optimizer, combinations(GRID), num_steps=8, seeds=2, key=KEY)
    for trial in trials:
        settings = AdamW(**trial.settings)
        alone = rollout(task, optimizer, settings.init(KEY), num_steps=8, seeds=2, key=KEY)
        expected = np.mean(alone.train_loss)
        np.testing.assert_allclose(trial.loss, expected if np.isfinite(expected) else np.inf, rtol=1e-4)
    assert best(trials).settings["learning_rate"] == 0.1


def test_a_setting_that_diverged_is_never_the_best():
    assert best([Trial({"a": 1.0}, math.inf), Trial({"a": 2.0}, 9.0)]).settings == {"a": 2.0}


def test_theta_of_settings_is_the_baselines_own():
    own = AdamW(learning_rate=0.3, b1=0.8, b2=0.7, weight_decay=0.1).init(KEY)
    made = theta_of({"learning_rate": 0.3, "b1": 0.8, "b2": 0.7, "weight_decay": 0.1})
    jax.tree.map(np.testing.assert_array_equal, made, own)
