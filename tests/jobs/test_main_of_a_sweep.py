"""mode=main inside a sweep: shared meta-trainings, tuned baselines, evaluations on other networks than θ's."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mulo.checkpoint import load
from mulo.config import Config, EvaluationConfig, SweepConfig, TuningConfig
from mulo.evaluation.results import RESULTS, trainings
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import jobs_of
from mulo.jobs.theta_store import training_of
from mulo.optimizers import SmallFC
from mulo.trees import digest
from tests.command import TINY, mulo

SWEEP = (*TINY, "sweep.name=figure/none", "evaluation.baselines=[]")
DEEPER = ("evaluation.depths=[2]", "evaluation.horizons=[3,4]")
ORACLE = ("optimizer=adamw", "tuning.each_width=true")
BASELINE = [item for item in SWEEP if not item.startswith("optimizer")] + ["tuning=smoke"]


def test_theta_depends_on_what_decides_it_alone():
    base = Config(sweep=SweepConfig(name="figure/a"), optimizer=SmallFC())
    same = [
        replace(base, name="other"),
        replace(base, sweep=SweepConfig(name="figure/b"), scale="cpu"),
        replace(base, evaluation=EvaluationConfig(widths=[7], seeds=9)),
        replace(base, tuning=TuningConfig(num_steps=3, grid={"step_mult": [0.1]})),
    ]
    other = [
        replace(base, seed=1),
        replace(base, optimizer=SmallFC(step_mult=0.5)),
        replace(base, recipe=replace(base.recipe, sigma=0.5)),
        replace(base, task=replace(base.task, width=7)),
    ]
    places = [training_of(config).run_dir for config in (base, *same, *other)]
    assert len(set(places[:5])) == 1
    assert len(set(places)) == 1 + len(other)
    assert training_of(replace(base, sweep=SweepConfig())).run_dir is None


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two jobs with the same θ, the second on other networks; a tuned baseline and an oracle."""
    folder = tmp_path_factory.mktemp("sweep")
    jobs = {
        "first": [*SWEEP, "name='µLO_S'", "run_dir=first", "evaluation.widths=[4,8]"],
        "second": [*SWEEP, "run_dir=second", "evaluation.widths=[4]", "evaluation.theta0=false", *DEEPER],
        "tuned": [*BASELINE, "optimizer=adamw", "run_dir=tuned", "evaluation.widths=[8]"],
        "oracle": [*BASELINE, *ORACLE, "run_dir=oracle", "evaluation.widths=[4,8]"],
    }
    for arguments in jobs.values():
        done = mulo(*arguments, cwd=folder)
        assert done.code == 0, done.err
    return folder


def test_jobs_share_a_meta_training(runs):
    places = [
        json.loads((runs / job / "theta.json").read_text(encoding="utf-8"))["directory"] for job in ("first", "second")
    ]
    assert places[0] == places[1]
    assert len(list((runs / "runs" / "theta").iterdir())) == 1
    assert (runs / places[0] / "metrics.jsonl").exists()


def results(runs, job):
    return trainings(RESULTS.read(runs / job / "results.csv"))


def test_results_have_the_methods_name(runs):
    assert set(results(runs, "first/evaluation").method) == {"µLO_S", "µLO_S_theta0"}


def test_the_grid_is_depths_times_horizons(runs):
    rows = results(runs, "second/evaluation")
    assert set(zip(rows.depth, rows.num_steps, strict=True)) == {(2, 3), (2, 4)}
    assert (runs / "second" / "evaluation" / "loss_over_width.png").exists()


def test_a_record_says_which_theta_and_from_which_commit_its_jobs_have(runs):
    """The digests are those of the checkpoint that both jobs share, read back from its arrays."""
    place = json.loads((runs / "first" / "theta.json").read_text(encoding="utf-8"))["directory"]
    found = {job.name: job for job in gather(jobs_of(runs)).jobs}
    assert found["first"].theta == found["second"].theta == digest(load(runs / place).theta)
    assert found["tuned"].theta is None
    assert found["first"].provenance["commit"]


def trials(runs, job):
    return RESULTS.read(runs / job / "tuning.csv", settings=None)


def test_a_baseline_is_tuned_on_the_largest_width_of_meta_training(runs):
    found = trials(runs, "tuned")
    assert set(found.width) == {4}
    assert sorted(found.learning_rate.unique()) == ["0.001", "0.01"]


def test_an_oracle_is_tuned_at_each_width(runs):
    seeds = trials(runs, "oracle").groupby(["width", "learning_rate"], sort=False).size()
    assert [width for width, _ in seeds.index] == [4, 4, 8, 8]


def test_the_tuned_settings_are_those_that_are_evaluated(runs):
    """The same network trained by the best trial's settings alone ends with the same loss."""
    rate = f"optimizer.learning_rate={trials(runs, 'tuned').groupby('learning_rate').loss.mean().idxmin()}"
    alone = [*BASELINE, "mode=evaluate", "optimizer=adamw", rate, "optimizer.weight_decay=0", "sweep.name=null"]
    done = mulo(*alone, "evaluation.widths=[8]", "run_dir=alone", cwd=runs)
    assert done.code == 0, done.err
    found, expected = (results(runs, place).query("width == 8").train for place in ("tuned/evaluation", "alone"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_other_networks_and_data_than_those_of_meta_training(runs):
    arguments = [*SWEEP, "+task@evaluation.task=vit", "evaluation.task.patch=4", "evaluation.task.depth=1"]
    small = ("evaluation.task.batch_size=2", "evaluation.widths=[8]", "evaluation.seeds=1")
    done = mulo(*arguments, *small, "run_dir=third", cwd=runs)
    assert done.code == 0, done.err
    rows = results(runs, "third/evaluation")
    assert set(zip(rows.task, rows.width, strict=True)) == {("vit", 8)}
    assert len(list((runs / "runs" / "theta").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scale=cpu",), "scale=cpu is invalid"),
        (("name=a/b",), "name=a/b"),
        (("evaluation.horizons=[4,4]",), "without repetitions"),
        (("optimizer=adamw", "mode=meta_train"), "has no θ to meta-train"),
        (("mode=report",), "report.of"),
        (("evaluation.task={name: mlp, widht: 3}",), "evaluation.task.widht"),
    ],
)
def test_wrong_settings_are_refused(arguments, said, tmp_path):
    done = mulo(*arguments, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
