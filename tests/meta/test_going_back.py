"""Which θ is kept, and when and how θ goes back."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.config import OuterConfig
from mulo.meta.state import handed_on

from .quadratic import flat
from .test_trainer import OUTER, TASKS, assert_same_bits, made, recorded

WILD = OuterConfig(learning_rate=2.0, warmup_start=2.0, warmup_steps=0, final_learning_rate=1.0, decay_steps=30)
"""Every outer step is far too large."""


@cache
def wild(steps=6, **changes):
    trainer = made(TASKS[:1], outer_steps=steps, outer=WILD, loss_clip=100.0, **changes)
    return trainer, recorded(trainer)


def losses(run):
    return {row["outer_step"]: row["validation_loss"] for row in run.rows if "validation_loss" in row}


def test_what_is_handed_on_is_never_worse_than_the_start():
    trainer, run = wild(2, keep="best")
    assert losses(run)[2] > losses(run)[0]
    assert (int(run.state.best_step), float(run.state.best_loss)) == (0, np.float32(losses(run)[0]))
    assert_same_bits(handed_on(trainer.recipe, run.state), jax.tree.map(np.asarray, trainer.initial_theta()))


def test_keeping_the_best_changes_no_step():
    (trainer, plain), (_, best) = wild(), wild(keep="best")
    assert best.rows == plain.rows
    assert_same_bits(best.state.theta, plain.state.theta)
    assert_same_bits(handed_on(trainer.recipe, plain.state), plain.state.theta)
    assert int(plain.state.best_step) > 0, "by default the initial θ is no candidate"


def test_a_better_theta_replaces_the_initial_one():
    trainer = made(TASKS[:1], keep="best", pairs=64)
    run = recorded(trainer)
    best = min(losses(run), key=losses(run).get)
    assert int(run.state.best_step) == best > 0
    assert trainer.validate(handed_on(trainer.recipe, run.state))["validation_loss"] == losses(run)[best]


def test_theta_goes_back_and_goes_on_more_slowly():
    """Validations are after steps 2, 4 and 6."""
    run = wild(go_back=0.0)[1]
    counts, last = [], 0
    for step, loss in list(losses(run).items())[1:]:
        last += loss > losses(run)[0]
        counts.append((step, last))
    by_step = {row["outer_step"]: row["went_back"] for row in run.rows[1:]}
    assert counts == [(step, by_step[step]) for step in (2, 4, 6)]
    assert by_step[1] == 0 < by_step[2] == by_step[3] == 1
    rates = [row["learning_rate"] for row in run.rows[1:]]
    plain = [row["learning_rate"] for row in wild()[1].rows[1:]]
    assert rates == pytest.approx([rate / 2 ** by_step.get(step, 0) for step, rate in enumerate(plain)])


def test_what_goes_back():
    trainer = wild(go_back=0.0)[0]
    state, _ = trainer.step(trainer.initial())
    state = trainer.judge_initial(state, 1.0)
    state, _ = trainer.step(state)
    state = trainer.judge(state, 1.5)
    assert_same_bits(flat(state.theta), flat(trainer.initial_theta()))
    adam, (count,) = parts(state.outer, optax.ScaleByAdamState), parts(state.outer, optax.ScaleByScheduleState)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(adam))
    assert int(count.count) == 2, "the learning rate goes on along its schedule"
    (before,) = trainer.initial().particles
    np.testing.assert_array_equal(state.particles[0].length, before.length)
    moved, _ = trainer.step(state)
    np.testing.assert_array_equal(moved.particles[0].training.optimizer_state.count, 5)


def parts(state, kind):
    leaves = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, kind))
    return [part for part in leaves if isinstance(part, kind)]


@pytest.mark.parametrize(("loss", "times"), [(1.0, 0), (1.29, 0), (1.31, 1)])
def test_only_what_is_worse_by_more_than_the_share_goes_back(loss, times):
    trainer = wild(go_back=0.3)[0]
    state = trainer.judge_initial(trainer.initial(), 1.0)
    assert int(trainer.judge(state._replace(step=jnp.int32(2)), loss).went_back) == times


@pytest.mark.parametrize("name", ["pes", "nres"])
def test_unrolls_that_start_anew_together_are_staggered_again(name):
    trainer = made(TASKS[:1], estimator=name, go_back=0.0, pairs=32, min_length=20)
    state, _ = trainer.step(trainer.judge_initial(trainer.initial(), 0.0))
    state, _ = trainer.step(trainer.judge(state, 1.0))
    assert len(set(np.asarray(state.particles[0].age))) == 4


def test_the_average_is_validated_and_kept():
    trainer = made(TASKS[:1], outer=OuterConfig(**OUTER.__dict__ | {"average": 0.8}), keep="best")
    run = recorded(trainer)
    assert int(run.state.best_step) == int(run.state.step), "it falls from step to step"
    assert_same_bits(run.state.best_theta, run.state.average)
    assert trainer.validate(run.state.average)["validation_loss"] == run.rows[-1]["validation_loss"]
    assert np.abs(flat(run.state.average) - flat(run.state.theta)).max() > 0.01


def test_continued_after_going_back_it_gives_the_same_bits():
    options = {
        "outer": OuterConfig(**WILD.__dict__ | {"learning_rate": 6.0, "average": 0.2, "pull": 0.01}),
        "go_back": 0.0, "keep": "best", "normalize_tasks": True, "lengths": "uniform", "length_curriculum": 0.5,
        "end_weight": 1.0,
    }  # fmt: skip
    trainer = made(outer_steps=6, loss_clip=100.0, **options)
    whole = recorded(trainer)
    assert [row["went_back"] for row in whole.rows[1:4]] == [0, 1, 1]
    continued = recorded(trainer, whole.saves[0])
    assert_same_bits(continued.state, whole.state)
    assert whole.rows[:4] + continued.rows == whole.rows
