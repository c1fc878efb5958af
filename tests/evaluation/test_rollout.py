"""A rollout is a training like any other, and says where it diverged."""

import jax
import numpy as np
import optax
import pytest

from mulo import randomness
from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.evaluation.grid import Run, StoredRuns, run_grid
from mulo.evaluation.results import RESULTS
from mulo.evaluation.rollout import Rollout, rollout
from mulo.optimizers import AdamW
from mulo.tasks import make_tasks

STEPS, KEY = 6, randomness.root(3)
OPTIMIZER = AdamW(learning_rate=0.05)
THETA = OPTIMIZER.init(KEY)


def stored(folder):
    return StoredRuns(folder, data="synthetic", meta_seed=7)


def table(folder):
    return RESULTS.read(folder / "results.csv")


@pytest.fixture(scope="module")
def task():
    data = load(SyntheticDataConfig(shape=[3], classes=2))
    return make_tasks(MLPConfig(width=4, depth=1, batch_size=8), "sp", data)[0]


@pytest.fixture(scope="module")
def outcome(task):
    return rollout(task, OPTIMIZER, THETA, num_steps=STEPS, seeds=2, key=KEY)


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
    alone = rollout(task, OPTIMIZER, THETA, num_steps=STEPS, seeds=1, key=KEY)
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
    outcome = Rollout(np.array([curve], np.float32), np.array([end]), np.array([1.0]), np.ones((1, 1)), np.array([2]))
    assert outcome.status(0) == status
    assert list(outcome.rows().status) == [status] * 3


def test_rows_have_the_loss_of_every_split(outcome):
    rows = outcome.rows()
    assert list(zip(rows.seed, rows.split, strict=True)) == [
        (s, k) for s in (0, 1) for k in ("initial", "train", "test")
    ]
    expected = np.stack([outcome.curve[:, 0], outcome.train_loss, outcome.test_loss], axis=1)
    np.testing.assert_array_equal(rows.loss.to_numpy().reshape(2, 3), expected)


def test_divergence_is_a_result_not_a_crash(task, tmp_path):
    wild = AdamW(learning_rate=1e38)
    run = Run("wild", "sp", task, wild, wild.init(KEY), STEPS)
    assert run_grid([run], 2, KEY, stored(tmp_path), lambda done, loss: None, lambda: False)
    assert table(tmp_path).status.str.startswith("diverged(").all()


def test_a_grid_goes_on_where_it_stopped(task, tmp_path):
    runs = [Run(name, "sp", task, OPTIMIZER, THETA, STEPS) for name in ("one", "two")]
    seen = []

    def progress(done, loss):
        seen.append(done)

    assert not run_grid(runs, 1, KEY, stored(tmp_path), progress, lambda: True)
    assert list(table(tmp_path).method.unique()) == ["one"]
    seen.clear()
    assert run_grid(runs, 1, KEY, stored(tmp_path), progress, lambda: False)
    assert min(seen) > STEPS  # the first run was not computed again
    assert list(table(tmp_path).method) == ["one"] * 3 + ["two"] * 3
    assert (table(tmp_path)[["data", "meta_seed"]] == ["synthetic", 7]).all(axis=None)


def test_rows_of_a_run_cut_off_while_writing_are_dropped(task, tmp_path):
    runs = [Run(name, "sp", task, OPTIMIZER, THETA, STEPS) for name in ("one", "two")]
    run_grid(runs, 1, KEY, stored(tmp_path), lambda done, loss: None, lambda: False)
    text = (tmp_path / "results.csv").read_text(encoding="utf-8")
    (tmp_path / "results.csv").write_text(text + text.splitlines()[-1].replace("two", "three") + "\n", encoding="utf-8")
    assert list(stored(tmp_path).results.method.unique()) == ["one", "two"]


def test_a_grid_goes_on_in_a_directory_of_an_older_version(task, tmp_path):
    """Its table had a row per training; the initial loss is in the curves."""
    runs = [Run(name, "sp", task, OPTIMIZER, THETA, STEPS) for name in ("one", "two")]
    run_grid(runs[:1], 1, KEY, stored(tmp_path), lambda done, loss: None, lambda: False)
    now = table(tmp_path)
    losses = ",".join(map(repr, now.loss[1:]))
    (tmp_path / "results.csv").write_text(
        "optimizer,parametrization,task,width,depth,steps,seed,train_loss,test_loss,status\n"
        f"one,sp,mlp,4,1,{STEPS},0,{losses},finished\n",
        encoding="utf-8",
    )
    seen = []
    run_grid(runs, 1, KEY, stored(tmp_path), lambda done, loss: seen.append(done), lambda: False)
    assert min(seen) > STEPS
    assert table(tmp_path)[:3].equals(now)
    assert list(table(tmp_path).method.unique()) == ["one", "two"]


def test_the_test_loss_is_measured_on_the_way(task):
    """A shorter training of the same steps ends with it; Adam's constant rate does not know how many there will be."""
    whole = rollout(task, OPTIMIZER, THETA, num_steps=STEPS, seeds=2, key=KEY, test_points=3)
    assert whole.test_steps.tolist() == [2, 4, 6]
    half = rollout(task, OPTIMIZER, THETA, num_steps=4, seeds=2, key=KEY)
    np.testing.assert_allclose(whole.test_curve[:, 1], half.test_loss, rtol=1e-5)
    np.testing.assert_array_equal(whole.test_curve[:, -1], whole.test_loss)


def test_settings_are_trained_side_by_side_on_the_same_seeds(task):
    rates = [0.05, 0.4]
    alone = [AdamW(learning_rate=rate) for rate in rates]
    thetas = jax.tree.map(lambda *x: jax.numpy.stack(x), *[optimizer.init(KEY) for optimizer in alone])
    together = rollout(task, OPTIMIZER, thetas, num_steps=STEPS, seeds=2, key=KEY, settings=2)
    for index, optimizer in enumerate(alone):
        expected = rollout(task, optimizer, optimizer.init(KEY), num_steps=STEPS, seeds=2, key=KEY)
        np.testing.assert_allclose(together.curve[2 * index : 2 * index + 2], expected.curve, rtol=1e-4)
    assert not np.allclose(together.curve[0], together.curve[2])


class Unbuildable:
    """An optimizer that asks for more than there is."""

    def __init__(self):
        self.tries = 0

    def init(self, key):
        return {}

    def transform(self, theta, num_steps, multipliers):
        self.tries += 1
        raise MemoryError("too large by far")


def test_a_failing_run_is_a_result_and_is_tried_again(task, tmp_path):
    bad, failures = Unbuildable(), []

    def on_failure(run, reason):
        failures.append((run.method, reason))

    runs = [Run("bad", "sp", task, bad, {}, STEPS), Run("good", "sp", task, OPTIMIZER, THETA, STEPS)]
    for start in (1, 2):
        assert run_grid(runs, 2, KEY, stored(tmp_path), lambda *_: None, lambda: False, on_failure=on_failure)
        assert failures == [("bad", "too large by far")] * start
        rows = table(tmp_path)
        assert rows.loss.isna().equals(rows.method == "bad")
        assert sorted({(row.method, row.seed, row.status) for row in rows.itertuples()}) == [
            ("bad", 0, "failed(too large by far)"),
            ("bad", 1, "failed(too large by far)"),
            ("good", 0, "finished"),
            ("good", 1, "finished"),
        ]
        assert bad.tries == start
