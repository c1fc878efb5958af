"""The outer loop on quadratics: averaging, progress, bit-exact continuation, validation, bookkeeping."""

from functools import cache
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo import data, randomness
from mulo.config import MLPConfig, OuterConfig, SyntheticDataConfig
from mulo.meta.outer import outer_optimizer
from mulo.meta.state import keep_best
from mulo.meta.trainer import Trainer, TrainerState, run
from mulo.tasks import make_tasks

from .quadratic import MomentumOptimizer, Quadratic, expected_losses, flat, recipe

OUTER = OuterConfig(learning_rate=0.1, warmup_start=0.01, warmup_steps=2, final_learning_rate=0.02, decay_steps=30)
TASKS = (Quadratic(), Quadratic(name="steep", curvature=(8.0, 0.1)))
STEPS = 7


def made(tasks=TASKS, seed=0, **changes):
    settings = {"outer_steps": STEPS, "save_every": 3, "validate_every": 2, "min_length": 10, "sigma": 0.05}
    return Trainer(tasks, MomentumOptimizer(), recipe(**{**settings, "outer": OUTER, **changes}), seed)


@cache
def trainer():
    """One for most tests: it keeps nothing between runs, and every other one compiles anew."""
    return made()


@cache
def single():
    """Enough pairs for small standard errors."""
    return made(TASKS[:1], outer_steps=40, validate_every=40, pairs=1024)


class Recorded(NamedTuple):
    state: TrainerState
    rows: list
    saves: list
    progress: list


def copied(state):
    """As a checkpoint gives it back."""
    return jax.tree.map(np.array, state)


def recorded(trainer, state=None, stop_after=None):
    rows, saves, progress = [], [], []
    state = run(
        trainer,
        state or trainer.initial(),
        on_step=lambda *told: progress.append(told),
        record=rows.append,
        save=lambda state: saves.append(copied(state)),
        stop_requested=lambda: rows[-1]["outer_step"] == stop_after,
    )
    return Recorded(copied(state), rows, saves, progress)


@cache
def whole_run():
    return recorded(trainer())


def assert_same_bits(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_gradients_of_tasks_are_averaged():
    state = trainer().initial()
    key = randomness.branch(randomness.root(0), "meta", 0)
    gradients = [
        e.estimate(state.theta, e.initial(state.theta), 0, randomness.branch(key, e.task.name))[1].gradient
        for e in trainer().estimators
    ]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *gradients)
    update, _ = outer_optimizer(OUTER).update(mean, outer_optimizer(OUTER).init(state.theta), state.theta)
    moved, row = trainer().step(state)
    assert not np.allclose(*map(flat, gradients), rtol=0.1)
    np.testing.assert_allclose(flat(moved.theta), flat(optax.apply_updates(state.theta, update)), rtol=1e-6, atol=1e-6)
    assert row["gradient_norm"] == pytest.approx(np.linalg.norm(flat(mean)), rel=1e-5)
    assert row["update_norm"] == pytest.approx(np.linalg.norm(flat(update)), rel=1e-5)


def test_meta_training_lowers_the_validation_loss():
    first, *_, last = recorded(single()).rows
    assert last["validation_loss"] < 0.6 * first["validation_loss"]


def test_same_seed_gives_the_same_bits():
    assert_same_bits(recorded(trainer()), whole_run())


def test_other_seed_gives_another_theta():
    one, other = ((t, recorded(t, stop_after=2)) for t in (single(), made(TASKS[:1], seed=1)))
    starts, ends = zip(*((flat(t.initial_theta()), flat(r.state.theta)) for t, r in (one, other)), strict=True)
    assert not np.isclose(*starts)[:2].any()
    assert not np.isclose(ends[0] - starts[0], ends[1] - starts[1], rtol=1e-4, atol=0).any()


def test_every_step_and_task_draws_its_own_perturbations():
    first, _ = trainer().step(trainer().initial())
    one = [flat(particles.xi) for particles in copied(first).particles]
    second, _ = trainer().step(first)
    two = [flat(particles.xi) - xi for particles, xi in zip(copied(second).particles, one, strict=True)]
    assert (second.particles[0].age > 5).any()
    assert not np.isclose(one[0], one[1]).any()
    assert not np.isclose(one, two).any()


@pytest.mark.parametrize("done", [1, 4])
def test_continued_from_a_copy_it_gives_the_same_bits(done):
    stopped = recorded(trainer(), stop_after=done)
    continued = recorded(trainer(), stopped.saves[-1])
    assert int(stopped.state.step) == done
    assert_same_bits(continued.state, whole_run().state)
    assert stopped.rows + continued.rows == whole_run().rows


@cache
def run_under(estimator):
    """As `whole_run`, of one task."""
    made_so = made(TASKS[:1], estimator=estimator, start_offset=0)
    return made_so, recorded(made_so)


@pytest.mark.parametrize("estimator", ["nres", "es_single"])
def test_continued_in_the_middle_of_unrolls_it_gives_the_same_bits(estimator):
    """There ε is not drawn again: it is the ξ that was saved."""
    trainer, whole = run_under(estimator)
    middle = next(state for state in whole.saves if (state.particles[0].age < state.particles[0].length).any())
    assert int(middle.step) < STEPS
    assert_same_bits(recorded(trainer, middle).state, whole.state)


def test_every_estimator_takes_its_own_way():
    ends = [flat(run_under(name)[1].state.theta) for name in ("pes", "nres", "es_single", "es", "truncated_es")]
    apart = [np.abs(one - other).max() for one, other in combinations(ends, 2)]
    assert min(apart) > 1e-2


def test_rows():
    rows = whole_run().rows
    assert [row["outer_step"] for row in rows] == list(range(STEPS + 1))
    assert [row["outer_step"] for row in rows if "validation_loss" in row] == [0, 2, 4, 6, 7]
    for row in rows[1:]:
        assert row["meta_loss"] == pytest.approx((row["meta_loss/quadratic"] + row["meta_loss/steep"]) / 2)
    assert whole_run().progress == [(row["outer_step"], row["meta_loss"]) for row in rows[1:]]
    assert [row["learning_rate"] for row in rows[1:4]] == pytest.approx([0.01, 0.055, 0.1])


def test_saves_on_the_way_and_at_the_end():
    assert [int(state.step) for state in whole_run().saves] == [3, 6, 7]
    assert_same_bits(whole_run().saves[-1], whole_run().state)


def test_a_stop_saves_and_returns():
    stopped = recorded(trainer(), stop_after=4)
    assert [int(state.step) for state in stopped.saves] == [3, 4]
    assert stopped.rows == whole_run().rows[:5]
    assert_same_bits(stopped.saves[-1], stopped.state)


def test_a_finished_run_has_nothing_left_to_do():
    again = recorded(trainer(), whole_run().state)
    assert again.rows == again.saves == []
    assert_same_bits(again.state, whole_run().state)


def test_validation_only_depends_on_theta():
    theta = trainer().initial_theta()
    moved = jax.tree.map(lambda x: x + 0.5, theta)
    before = trainer().validate(theta)
    recorded(trainer(), stop_after=2)
    assert trainer().validate(theta) == before
    assert whole_run().rows[0] == {"outer_step": 0, **before}
    assert trainer().validate(moved)["validation_loss"] < before["validation_loss"]


def test_validation_is_the_expected_loss_of_the_longest_unroll():
    theta = single().initial_theta()
    expected = expected_losses(TASKS[0], np.tile(flat(theta), (20, 1)), 20).mean()
    assert single().validate(theta)["validation_loss/quadratic"] == pytest.approx(expected, rel=0.04)


def test_best_theta_is_the_lowest_validated_one():
    rows, state = whole_run().rows, whole_run().state
    validated = [row["validation_loss"] for row in rows[1:] if "validation_loss" in row]
    assert float(state.best_loss) == pytest.approx(min(validated))
    assert trainer().validate(state.best_theta)["validation_loss"] == min(validated)


def test_keep_best():
    state = trainer().initial()
    for loss, mark in [(2.0, 1), (3.0, 2), (np.nan, 3), (1.0, 4), (1.0, 5)]:
        state = keep_best(state._replace(theta=mark), loss)
    assert state.theta == 5
    assert (state.best_theta, float(state.best_loss)) == (4, 1.0)


def test_old_particles_are_donated():
    probe = jnp.zeros(8)
    jax.jit(lambda x: x + 1, donate_argnums=0)(probe)
    if not probe.is_deleted():
        pytest.skip(f"{jax.default_backend()} does not donate")
    state, _ = trainer().step(trainer().initial())
    trainer().step(state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves([p.training for p in state.particles]))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state.theta))


def test_tasks_that_share_a_dataset_share_its_copy():
    tasks = make_tasks(MLPConfig(widths=[4, 8], depth=1), "mup", data.load(SyntheticDataConfig(shape=[3])))
    first, second = (e.data_at(0) for e in Trainer(tasks, MomentumOptimizer(), recipe(), 0).estimators)
    assert first is second
