"""Two real processes meta-train one θ: the same θ as one process, one log, a stop that both agree on, a resume."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from mulo import checkpoint, distributed
from mulo.errors import ConfigError
from mulo.reporting.metrics import read

from ..command import TINY, environment, mulo

SETTINGS = ("mode=meta_train", *TINY, "recipe.outer_steps=20", "recipe.save_every=5", "recipe.validate_every=10")


def start(cwd, *arguments):
    """Both processes, each writing its output into a file of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mulo.run", *SETTINGS, *arguments]
    started = []
    for index in "01":
        told = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": index}
        output = (cwd / f"output{index}").open("w", encoding="utf-8")
        started.append(subprocess.Popen(command, cwd=cwd, env=environment() | told, stdout=output, stderr=output))
    return started


def steps_logged(run):
    path = run / "metrics.jsonl"
    return [row["outer_step"] for row in read(path)] if path.exists() else []


def stop_second_after(processes, run, steps):
    deadline = time.monotonic() + 200
    while len(steps_logged(run)) <= steps and time.monotonic() < deadline:
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def stopped(folder):
    """Exit codes of a run whose second process was told to stop, and the steps in its log."""
    processes = start(folder, "run_dir=two")
    stop_second_after(processes, folder / "two", 3)
    codes = [process.wait(200) for process in processes]
    return codes, steps_logged(folder / "two")


@pytest.fixture(scope="module")
def resumed(folder, stopped):
    return [process.wait(200) for process in start(folder, "run_dir=two")]


@pytest.mark.slow
def test_a_signal_to_one_stops_both_after_the_same_step(stopped):
    codes, steps = stopped
    assert codes == [143, 143]
    assert 3 < len(steps) < 20


@pytest.mark.slow
def test_two_processes_find_the_theta_of_two_devices(folder, resumed, monkeypatch):
    """Bit for bit, although one of them was stopped half-way: each device runs the same compiled program.

    One device has a program of another batch size, which XLA may fuse otherwise (`tests/meta/test_devices.py`).
    """
    assert resumed == [0, 0], (folder / "output0").read_text(encoding="utf-8")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    alone = mulo(*SETTINGS, "run_dir=one", cwd=folder)
    assert alone.code == 0, alone.err
    one, two = (checkpoint.load(folder / name).theta for name in ("one", "two"))
    start = checkpoint.load(folder / "one").optimizer.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert any(np.abs(a - b).max() > 1e-2 for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(start), strict=True))


@pytest.mark.slow
def test_only_the_leader_writes(folder, resumed):
    assert steps_logged(folder / "two") == list(range(21))
    # Gloo greets from every process, whatever one asks of it.
    said = [
        line for line in (folder / "output1").read_text(encoding="utf-8").splitlines() if line and "[Gloo]" not in line
    ]
    assert said == []
    assert "20/20" in (folder / "output0").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID=2"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"}, "=two"),
    ],
)
def test_what_the_environment_lacks_is_named(monkeypatch, variables, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=named):
        distributed.join("auto")


def test_alone_unless_told_of_others(monkeypatch):
    distributed.join("auto")
    monkeypatch.setenv("SLURM_NTASKS", "4")  # an allocation of several tasks, inside a batch script: no srun
    distributed.join("auto")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    distributed.join("never")
    assert not distributed.several()
    assert os.environ["JAX_NUM_PROCESSES"] == "2"


def test_always_without_others_is_refused():
    with pytest.raises(ConfigError, match="distributed=always"):
        distributed.join("always")


def test_every_core_is_a_device_unless_it_is_too_late_or_decided(tmp_path):
    ask = "import os, jax; from mulo import distributed; {} distributed.use_all_cores(); print(jax.device_count())"
    cores = len(os.sched_getaffinity(0))

    def devices(before="", **told):
        alone = {key: value for key, value in os.environ.items() if key != "JAX_NUM_CPU_DEVICES"}
        command = [sys.executable, "-c", ask.format(before)]
        return int(subprocess.run(command, env=alone | told, capture_output=True, encoding="utf-8", check=True).stdout)

    assert devices() == cores
    assert devices(JAX_NUM_CPU_DEVICES="3") == 3
    assert devices("jax.devices();") == 1
