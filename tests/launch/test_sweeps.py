"""Sweeps: one bad job leaves the others running, what is done is not done again, and a kill costs only time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mulo.checkpoint import load
from mulo.trees import digest
from tests.command import TINY, environment, mulo

SHORT = ("-m", "mode=meta_train", *TINY, "recipe.outer_steps=2", "recipe.validate_every=2")
BUG = """
from mulo import run
from mulo.launch import dispatch
meta_train = dispatch.meta_train
def broken(job):
    if job.config.seed == 1:
        raise RuntimeError("injected")
    return meta_train(job)
dispatch.meta_train = broken
run.main()
"""


def events(place):
    paths = sorted((place / "runs/multirun").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def directory(place, seed):
    (found,) = (place / "runs").glob(f"*-seed{seed}-*")
    return found


def job(place, seed):
    return json.loads((directory(place, seed) / "job.json").read_text(encoding="utf-8"))


def traces(folder):
    """Content and time of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A sweep of four, of which one is refused and one meets a bug, and what the bug left behind."""
    place = tmp_path_factory.mktemp("sweep")
    command = [sys.executable, "-c", BUG, *SHORT, "seed=0,1,-1,2"]
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, encoding="utf-8", timeout=300)
    return place, done, (job(place, 1), (directory(place, 1) / "error.txt").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def restarted(broken):
    place, *_ = broken
    before = {seed: traces(directory(place, seed)) for seed in (0, 2)}
    return before, mulo(*SHORT, "seed=0,1,-1,2", cwd=place)


def test_one_jobs_failure_leaves_the_others_running(broken):
    place, done, _ = broken
    assert done.returncode == 2
    assert "4 jobs: 2 finished, 2 failed." in done.stdout
    for text in ("[2/4] seed=1: failed. RuntimeError: injected", "Job 2 (seed=-1): failed. seed=-1 is invalid"):
        assert text in done.stderr
    for seed in (0, 2):
        name = directory(place, seed).name
        assert any(name in line and "finished" in line for line in done.stdout.splitlines())
        assert load(directory(place, seed)).meta.step == 2


def test_a_failure_is_recorded_with_its_traceback(broken):
    place, _, (found, trace) = broken
    assert (found["status"], found["exit_code"]) == ("failed", 1)
    assert found["reason"] == "RuntimeError: injected"
    assert trace.startswith("Traceback")
    assert ", in broken" in trace
    refused = next(event for event in events(place) if event["job"] == 2)
    assert (refused["event"], refused["exit_code"]) == ("failed", 2)
    assert "directory" not in refused


def test_the_same_command_does_only_what_is_missing(broken, restarted):
    place, *_ = broken
    before, done = restarted
    assert done.code == 2
    assert "4 jobs: 2 skipped (done before), 1 finished, 1 failed." in done.out
    assert before == {seed: traces(directory(place, seed)) for seed in (0, 2)}
    assert job(place, 1)["starts"] == 2
    assert not (directory(place, 1) / "error.txt").exists()


def test_a_finished_sweep_is_repeated_without_jax(broken, restarted):
    place, *_ = broken
    script = "import sys\nfrom mulo.run import main\ntry:\n    main()\nfinally:\n    print('jax' in sys.modules)"
    command = [sys.executable, "-c", script, *SHORT, "seed=0,1,2"]
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "3 jobs: 3 skipped (done before)." in done.stdout
    assert done.stdout.endswith("False\n")


def started(place, *arguments, **more):
    command = [sys.executable, "-m", "mulo.run", *arguments]
    told = environment() | {"JAX_NUM_CPU_DEVICES": "1"}
    with (place / "launch.txt").open("a", encoding="utf-8") as file:
        return subprocess.Popen(command, cwd=place, env=told, stdout=file, stderr=file, start_new_session=True, **more)


def wait_for(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def under_way(place, lines=1):
    files = (place / "runs").glob("*/metrics.jsonl")
    return any(path.read_text(encoding="utf-8").count("\n") > lines for path in files)


ENDLESS = ("-m", "mode=meta_train", *TINY, "recipe.outer_steps=100000", "seed=0,1,2")


@pytest.mark.parametrize(
    ("launcher", "number", "whole_group"),
    [
        ("basic", signal.SIGTERM, False),
        pytest.param("joblib", signal.SIGINT, True, marks=pytest.mark.slow),
        pytest.param("joblib", signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param("submitit_local", signal.SIGTERM, False, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_the_sweep_and_saves(tmp_path, launcher, number, whole_group):
    process = started(tmp_path, *ENDLESS, f"hydra/launcher={launcher}")
    wait_for(lambda: under_way(tmp_path))
    (os.killpg if whole_group else os.kill)(process.pid, number)
    assert process.wait(120) == 128 + number
    said = (tmp_path / "launch.txt").read_text(encoding="utf-8")
    assert "Traceback" not in said
    at_work = {event["directory"] for event in events(tmp_path) if event["event"] == "started"}
    assert len(at_work) == {"basic": 1, "joblib": 2, "submitit_local": 3}[launcher]
    for folder in at_work:
        found = json.loads((Path(folder) / "job.json").read_text(encoding="utf-8"))
        assert (found["status"], found["exit_code"]) == ("interrupted", 128 + number)
    assert f"{len(at_work)} interrupted" in said
    assert any(load(folder).meta.step > 1 for folder in at_work)


@pytest.mark.slow
def test_a_killed_worker_is_told_without_a_wall_of_text(tmp_path):
    process = started(tmp_path, *ENDLESS, "hydra/launcher=joblib")
    wait_for(lambda: under_way(tmp_path))
    worker = next(event for event in events(tmp_path) if event["event"] == "started")
    os.kill(int(worker["process"].rpartition(":")[2]), signal.SIGKILL)
    assert process.wait(120) == 1
    said = (tmp_path / "launch.txt").read_text(encoding="utf-8")
    assert "A worker process exited without reporting an error" in said
    assert "Traceback" not in said
    assert "3 jobs: 2 killed, 1 not started. The same command continues with what is missing." in said


def test_a_run_directory_in_use_is_refused(tmp_path):
    alone = [argument for argument in ENDLESS if argument not in ("-m", "seed=0,1,2")]
    process = started(tmp_path, *alone, "run_dir=run")
    wait_for(lambda: (tmp_path / "run/job.json").exists())
    before = (tmp_path / "run/job.json").read_text(encoding="utf-8")
    done = mulo(*alone, "run_dir=run", cwd=tmp_path)
    assert done.code == 2
    assert f":{process.pid}, since " in done.err
    assert "run_dir=run is in use by another process" in done.err
    assert (
        json.loads(before)["starts"]
        == json.loads((tmp_path / "run/job.json").read_text(encoding="utf-8"))["starts"]
        == 1
    )
    process.kill()
    process.wait()


TWELVE = ("-m", *TINY, "evaluation.baselines=[]", "evaluation.widths=[4]", "seed=range(6)", "optimizer.step_mult=0.1,1")


def outcomes(place):
    """By directory, everything that a job computes."""
    found = {}
    for folder in (place / "runs").glob("small_fc*"):
        with np.load(folder / "evaluation/curves.npz") as curves:
            bits = {name: curves[name].tobytes() for name in curves.files}
        table = (folder / "evaluation/results.csv").read_bytes()
        found[folder.name] = (table, bits, digest(load(folder).theta))
    return found


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """What the sweep finds under Hydra's own launcher, one job after the other in one process."""
    place = tmp_path_factory.mktemp("unkilled")
    assert started(place, *TWELVE).wait(1000) == 0, (place / "launch.txt").read_text(encoding="utf-8")
    return outcomes(place)


def kill_sometime(place, process, groups, chance):
    """While jobs are under way, SIGKILL to the launcher and to all processes of these groups."""
    so_far = len(events(place))
    wait_for(lambda: len(events(place)) > so_far + 2)
    time.sleep(chance.uniform(0, 6))
    process.kill()
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    process.wait()


def finished_directories(place):
    paths = (place / "runs").glob("small_fc*/job.json")
    return [path.parent for path in paths if json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_sweep_killed_twice_finds_the_same(tmp_path, launcher, unkilled):
    """Under submitit the first kill leaves the launcher's jobs alive, and the restarted sweep waits for them."""
    chance, before, launched = random.Random(0), {}, []
    for kill in range(2):
        process = started(tmp_path, *TWELVE, f"hydra/launcher={launcher}")
        launched.append(process.pid)
        spares_jobs = launcher == "submitit_local" and kill == 0
        kill_sometime(tmp_path, process, () if spares_jobs else launched, chance)
        before |= {folder: traces(folder) for folder in finished_directories(tmp_path)}
    assert started(tmp_path, *TWELVE, f"hydra/launcher={launcher}").wait(1000) == 0
    assert "12 jobs: " in (tmp_path / "launch.txt").read_text(encoding="utf-8")
    assert len(finished_directories(tmp_path)) == 12
    # The kills did hit something.
    assert (
        max(json.loads(path.read_text(encoding="utf-8"))["starts"] for path in (tmp_path / "runs").glob("*/job.json"))
        > 1
    )
    counts = Counter(event["directory"] for event in events(tmp_path) if event["event"] == "finished")
    assert sorted(counts.values()) == [1] * 12
    assert before == {folder: traces(folder) for folder in before}
    assert outcomes(tmp_path) == unkilled
