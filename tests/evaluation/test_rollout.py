"""A rollout is a training like any other, and says where it diverged."""

import jax
import numpy as np
import optax
import pytest

from mulo import randomness
from mulo.config import AdamConfig, MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.evaluation.grid import Cell, Record, run_grid
from mulo.evaluation.results import read_csv
from mulo.evaluation.rollout import Rollout, rollout
from mulo.optimizers import make_optimizer
from mulo.tasks import make_tasks

STEPS, KEY = 6, randomness.root(3)
OPTIMIZER = make_optimizer(AdamConfig(learning_rate=0.05))
THETA = OPTIMIZER.init(KEY)


@pytest.fixture(scope="module")
def task():
    data = load(SyntheticDataConfig(shape=[3], classes=2))
    return make_tasks(MLPConfig(width=4, depth=1, batch_size=8), "sp", data)[0]


@pytest.fixture(scope="module")
def outcome(task):
    return rollout(task, OPTIMIZER, THETA, STEPS, 2, KEY)


def test_it_equals_a_plain_training_loop(task, outcome):
    """optax's own Adam, step by step, on the same initialization and minibatches."""
    params = task.init(jax.random.fold_in(randomness.branch(KEY, "init"), 1))
    data_key = jax.random.fold_in(randomness.branch(KEY, "data"), 1)
    adam = optax.adamw(0.05, weight_decay=0.0)
    state, losses = adam.init(params), []
    for step in range(STEPS):
        batch = task.sample(task.data, jax.random.fold_in(data_key, step))
        loss, gradients = jax.value_and_grad(task.loss)(params, batch)
        updates, state = adam.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(loss)
    np.testing.assert_allclose(outcome.curve[1], losses, rtol=1e-4)
    np.testing.assert_allclose(outcome.test_loss[1], task.full_loss(params, task.data, "test"), rtol=1e-4)


def test_a_seed_does_not_depend_on_how_many_there_are(task, outcome):
    alone = rollout(task, OPTIMIZER, THETA, STEPS, 1, KEY)
    np.testing.assert_allclose(alone.curve[0], outcome.curve[0], rtol=1e-6)
    assert not np.allclose(outcome.curve[0], outcome.curve[1])


@pytest.mark.parametrize(
    ("curve", "end", "status"),
    [
        ([1, 2], 3.0, "finished"),
        ([1, np.nan], 3.0, "diverged(1)"),
        ([np.inf, 1], 3.0, "diverged(0)"),
        ([1, 2], np.nan, "diverged(2)"),
    ],
)
def test_status(curve, end, status):
    found = Rollout(np.array([curve], np.float32), np.array([end]), np.array([1.0]))
    assert found.status(0) == status


def test_divergence_is_a_result_not_a_crash(task, tmp_path):
    wild = make_optimizer(AdamConfig(learning_rate=1e38))
    cell = Cell("wild", "sp", task, wild, wild.init(KEY))
    assert run_grid([cell], STEPS, 2, KEY, Record(tmp_path), lambda done, loss: None, lambda: False)
    assert all(result.status.startswith("diverged(") for result in read_csv(tmp_path / "results.csv"))


def test_a_grid_goes_on_where_it_stopped(task, tmp_path):
    cells = [Cell(name, "sp", task, OPTIMIZER, THETA) for name in ("one", "two")]
    seen = []

    def progress(done, loss):
        seen.append(done)

    assert not run_grid(cells, STEPS, 1, KEY, Record(tmp_path), progress, lambda: True)
    assert [result.optimizer for result in read_csv(tmp_path / "results.csv")] == ["one"]
    seen.clear()
    assert run_grid(cells, STEPS, 1, KEY, Record(tmp_path), progress, lambda: False)
    assert min(seen) > STEPS  # the first cell was not computed again
    assert [result.optimizer for result in read_csv(tmp_path / "results.csv")] == ["one", "two"]


def test_rows_of_a_cell_cut_off_while_writing_are_dropped(task, tmp_path):
    cells = [Cell(name, "sp", task, OPTIMIZER, THETA) for name in ("one", "two")]
    run_grid(cells, STEPS, 1, KEY, Record(tmp_path), lambda done, loss: None, lambda: False)
    table = (tmp_path / "results.csv").read_text()
    (tmp_path / "results.csv").write_text(table + table.splitlines()[-1].replace("two", "three") + "\n")
    assert [result.optimizer for result in Record(tmp_path).results] == ["one", "two"]
