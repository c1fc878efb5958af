"""mode=main of a learned optimizer whose step size `tuning.grid` names, under a θ of 0 outer steps."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from rich.console import Console

from mulo import checkpoint, data, randomness
from mulo.config import parse
from mulo.errors import ConfigError
from mulo.evaluation.results import RESULTS, trainings
from mulo.evaluation.rollout import rollout
from mulo.jobs import tune
from mulo.jobs.meta_train import make_trainer
from mulo.launch import dispatch
from mulo.tasks import make_tasks
from tests.tiny_jobs import planned, reported, run, settings

STEPS = {"num_steps": 3, "seeds": 2, "settings_at_once": 2}
GRID = {"step_mult": [0.1, 1.0, 1e30], "learning_rate": [7.0]}
"""The second belongs to baselines."""
LARGEST = 3
"""Of meta-training's widths."""


def raw(folder, **tuning):
    return settings(folder, recipe={"outer_steps": 0}, tuning={**STEPS, "grid": GRID, **tuning})


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return run(raw(tmp_path_factory.mktemp("tuned")))


def trials(job):
    return RESULTS.read(job / "tuning.csv", settings=None)


def by_hand(job, step_mult, width, seeds, branch):
    """Final training losses of networks under the job's θ with this step size."""
    config, loaded = parse(raw(job.parent.parent)), checkpoint.load(job)
    task = make_tasks(config.task, config.parametrization, data.load(config.data), [width], None)[0]
    key, optimizer = randomness.branch(randomness.root(0), branch), replace(loaded.optimizer, step_mult=step_mult)
    num_steps = STEPS["num_steps"] if branch == "tuning" else config.evaluation.num_steps
    return rollout(task, optimizer, loaded.theta, num_steps=num_steps, seeds=seeds, key=key).train_loss


@pytest.mark.slow
def test_theta_of_no_outer_steps_is_that_which_meta_training_starts_with(job):
    config, loaded = parse(raw(job.parent.parent)), checkpoint.load(job)
    jax.tree.map(np.testing.assert_array_equal, loaded.theta, make_trainer(config).initial_theta())
    assert loaded.meta.step == 0
    assert not (job / "metrics.jsonl").exists()
    assert not list(job.glob("meta_training*"))


@pytest.mark.slow
def test_trials_are_trainings_under_theta_of_the_largest_network(job):
    table = trials(job)
    assert "learning_rate" not in table
    assert set(table.width) == {LARGEST}
    assert list(table.step_mult) == [text for text in ("0.1", "1.0", "1e+30") for _ in range(STEPS["seeds"])]
    for value in (0.1, 1.0):
        found = table[table.step_mult == repr(value)].loss
        np.testing.assert_allclose(found, by_hand(job, value, LARGEST, STEPS["seeds"], "tuning"), rtol=1e-5)


@pytest.mark.slow
def test_the_chosen_value_is_evaluated(job):
    chosen = float(trials(job).groupby("step_mult").loss.mean().idxmin())
    assert chosen != parse(raw(job.parent.parent)).optimizer.step_mult
    found = trainings(RESULTS.read(job / "evaluation/results.csv")).query("method == 'small_fc_mup'")
    np.testing.assert_allclose(found.train, by_hand(job, chosen, 5, 1, "evaluation"), rtol=1e-5)


@pytest.mark.slow
def test_what_was_tried_is_not_tried_again(job, monkeypatch):
    config = parse(raw(job.parent.parent))
    table = trials(job)
    RESULTS.write(table[table.step_mult != "1.0"], job / "tuning.csv")
    tried = []
    whole = tune.try_settings
    monkeypatch.setattr(
        tune, "try_settings", lambda *a, settings, **k: tried.extend(settings) or whole(*a, settings=settings, **k)
    )
    assert dispatch._lead(config, Console(quiet=True)) == 0
    assert tried == [{"step_mult": 1.0}]
    key = ["step_mult", "seed"]
    assert trials(job).sort_values(key).to_csv(index=False) == table.sort_values(key).to_csv(index=False)


@pytest.mark.slow
def test_a_record_says_that_it_was_meta_trained_and_tuned(job, tmp_path):
    record, readme = reported(job, tmp_path)
    prepared = record["jobs"][0]["preparation"]
    assert (prepared["kind"], prepared["outer_steps"], prepared["settings"]) == ("meta-training", 0, 3)
    assert record["jobs"][0]["trained_widths"] == {}
    assert prepared["seconds"] > 0
    assert "meta-training, 0 outer steps; tuning, 3 settings" in readme


def test_nothing_is_tried_where_the_grid_names_none_of_its_settings(tmp_path):
    config = parse(raw(tmp_path, grid={"learning_rate": [7.0]}))
    assert not config.tunes
    assert parse(raw(tmp_path)).tunes


def test_a_plan_counts_the_trials(tmp_path):
    plan = planned(raw(tmp_path), tmp_path)
    phases = {phase["name"]: phase["inner_steps"] for phase in plan["phases"]}
    assert list(plan["memory"]) == ["tuning", "evaluation"]
    assert phases["tuning"] == 3 * STEPS["seeds"] * STEPS["num_steps"]
    assert phases["meta-training"] == phases["validations"] == 0


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"hidden_size": [2.0]}, r"tuning\.grid=hidden_size is invalid; expected any of step_mult"),
        ({"step_mult": [-1.0]}, r"tuning\.grid\.step_mult=-1"),
        ({"vector_mult": [1.0]}, r"any of step_mult for optimizer=small_fc_mup"),
        ({"step_mult": []}, r"tuning\.grid\.step_mult"),
    ],
)
def test_what_cannot_be_tuned_is_refused(grid, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        parse(raw(tmp_path, grid=grid))


def test_a_baseline_passes_over_what_belongs_to_learned_optimizers(tmp_path):
    grid = {"learning_rate": [0.1, 0.2], "step_mult": [0.1]}
    config = parse(settings(tmp_path, optimizer={"architecture": "adamw"}, tuning={"grid": grid}))
    assert config.grid == {"learning_rate": [0.1, 0.2], "b1": [0.9], "b2": [0.999], "weight_decay": [0.0]}
