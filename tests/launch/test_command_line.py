"""The jobs as their user starts them: whole processes on tiny networks."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mulo.checkpoint import load
from mulo.trees import digest
from tests.command import TINY, environment, mulo


@pytest.fixture(scope="module")
def main_job(tmp_path_factory):
    place = tmp_path_factory.mktemp("main job")
    done = mulo("run_dir=run", *TINY, cwd=place)
    assert done.code == 0, done.err
    return place, done


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_main_job_leaves_table_figures_and_checkpoint(main_job):
    place, done = main_job
    evaluation = place / "run/evaluation"
    found = rows(evaluation / "results.csv")
    header = "method,parametrization,task,data,width,depth,num_steps,meta_seed,seed,split,loss,status"
    assert ",".join(found[0]) == header
    assert {row["method"] for row in found} == {"small_fc_mup", "small_fc_mup_theta0", "adamw", "mu_adam"}
    assert {int(row["width"]) for row in found} == {4, 8, 16, 32}
    assert len(found) == 4 * 4 * 2 * 3
    for name in ("loss_over_width", "curves"):
        assert (evaluation / f"{name}.png").stat().st_size > 10_000
        assert (evaluation / f"{name}.svg").exists()
    assert load(place / "run").meta.step == 6
    assert "held-out seeds" in done.out
    assert "µLO" in done.out


def test_repeating_the_command_computes_nothing_again(main_job):
    place, _ = main_job
    before = (place / "run/evaluation/results.csv").read_bytes(), (place / "run/metrics.jsonl").read_bytes()
    done = mulo("run_dir=run", *TINY, cwd=place)
    assert done.code == 0
    assert ((place / "run/evaluation/results.csv").read_bytes(), (place / "run/metrics.jsonl").read_bytes()) == before


@pytest.mark.slow
def test_a_multirun_evaluates_one_checkpoint_at_several_widths(main_job):
    place, _ = main_job
    arguments = ("-m", "mode=evaluate", "checkpoint=run", "task=mlp", "task.width=4,8", "task.depth=1")
    few = ("evaluation.num_steps=4", "evaluation.seeds=2", "logger=none", "evaluation.baselines=[]")
    done = mulo(*arguments, *few, cwd=place)
    assert done.code == 0, done.err
    results = [row for path in (place / "runs").glob("evaluate-*/results.csv") for row in rows(path)]
    assert sorted(int(row["width"]) for row in results if row["split"] == "test") == [4, 4, 8, 8]
    assert {row["method"] for row in results} == {"small_fc_mup"}


@pytest.mark.slow
def test_one_bad_job_leaves_the_others_running(main_job):
    place, _ = main_job
    arguments = ("-m", "mode=evaluate", "checkpoint=run", "task=mlp", "task.width=-1,5", "task.depth=1")
    few = ("evaluation.num_steps=4", "evaluation.seeds=1", "logger=none", "evaluation.baselines=[]")
    done = mulo(*arguments, *few, cwd=place)
    assert done.code == 2
    assert "task.width=-1" in done.err
    widths = {row["width"] for path in (place / "runs").glob("evaluate-*/results.csv") for row in rows(path)}
    assert "5" in widths


SLOW = {"marks": pytest.mark.slow}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, **SLOW),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGUSR2, 140, **SLOW),
    ],
)
def test_a_signal_saves_and_says_how_to_go_on(main_job, tmp_path, number, code):
    tiny = [argument for argument in TINY if not argument.startswith("recipe.outer_steps")]
    command = [sys.executable, "-m", "mulo.run", "run_dir=run", "recipe.outer_steps=100000", "mode=meta_train", *tiny]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    metrics = tmp_path / "run/metrics.jsonl"
    deadline = time.monotonic() + 240
    while (
        not (metrics.exists() and metrics.read_text(encoding="utf-8").count("\n") > 4) and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors.decode()
    assert "The same command continues from there" in errors.decode()
    assert load(tmp_path / "run").meta.step >= 4


def test_a_full_disk_ends_a_job_in_one_sentence(tmp_path):
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
    limited += "runpy.run_module('mulo.run', run_name='__main__')"
    settings = ["run_dir=run", "mode=meta_train", *TINY]
    done = subprocess.run(
        [sys.executable, "-c", limited, *settings],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: run could not be written: File too large.")
    assert "Traceback" not in done.stderr
    status = json.loads((tmp_path / "run/job.json").read_text(encoding="utf-8"))
    assert (status["status"], status["exit_code"]) == ("failed", 1)


def test_verify_agrees_and_exits_zero(main_job, request):
    reference = request.config.rootpath / "tests/reference/small_fc_mup_h4.npz"
    done = mulo("mode=verify", f"reference={reference}", cwd=main_job[0])
    assert done.code == 0, done.err
    assert "Agreement" in done.out
    assert done.out.count("yes") == 10


@pytest.mark.slow
def test_sp_twin_and_ablation_stand_in_the_table(main_job):
    place, _ = main_job
    sp = [argument.replace("small_fc_mup", "small_fc_sp") for argument in TINY]
    assert mulo("mode=meta_train", "run_dir=twin", *sp, cwd=place).code == 0
    few = ("evaluation.num_steps=4", "evaluation.seeds=2", "logger=none", "task.widths=[4]", "task.depth=1")
    arguments = ("mode=evaluate", "checkpoint=run", "evaluation.sp_twin=twin", "run_dir=beside")
    assert mulo(*arguments, *few, cwd=place).code == 0
    found = {(row["method"], row["parametrization"]) for row in rows(place / "beside/results.csv")}
    assert found == {("small_fc_mup", "mup"), ("small_fc_sp", "sp"), ("adamw", "sp"), ("mu_adam", "mup")}
    ablation = ("mode=evaluate", "checkpoint=run", "run_dir=ablation", "task.parametrization=sp")
    assert mulo(*ablation, *few, "evaluation.baselines=[]", cwd=place).code == 0
    pair = {(row["method"], row["parametrization"]) for row in rows(place / "ablation/results.csv")}
    assert pair == {("small_fc_mup", "sp")}
    assert digest(load(place / "run").theta) != digest(load(place / "twin").theta)
