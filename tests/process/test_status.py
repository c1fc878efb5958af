"""job.json says what became of a job; a lock lets one process at a time into a directory, for as long as it lives."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import jax
import pytest

from mulo import distributed, locks, provenance
from mulo.errors import BusyError, ConfigError, Interrupted
from mulo.process import status
from mulo.process.events import Log, rows, settled
from mulo.process.status import finished, read, recorded

HOLD = "import sys, time; from pathlib import Path; from mulo.locks import locked\n"
HOLD += "with locked(Path(sys.argv[1]), print): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Another process that is at work in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def stored(folder):
    return json.loads((folder / "job.json").read_text(encoding="utf-8"))


def test_a_job_that_comes_to_its_end_is_finished(tmp_path):
    before = datetime.now(UTC) - timedelta(seconds=1)
    with recorded(tmp_path, "evaluate") as record:
        assert stored(tmp_path)["status"] == "running"
        time.sleep(0.05)
        record.exit_code = 1
    found = stored(tmp_path)
    assert (found["status"], found["exit_code"], found["starts"], found["reason"]) == ("finished", 1, 1, None)
    assert 0.05 <= found["wall_seconds"] < 5
    assert before <= datetime.fromisoformat(found["first_started"]) <= datetime.fromisoformat(found["ended"])
    assert found["process"].endswith(f":{os.getpid()}")


def test_starts_are_counted_and_their_times_added_up(tmp_path):
    for _ in range(3):
        with recorded(tmp_path, "evaluate"):
            time.sleep(0.04)
    found = stored(tmp_path)
    assert found["starts"] == 3
    assert found["wall_seconds"] >= 0.12


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("task.width=0 is\ninvalid."), ("failed", 2, "task.width=0 is invalid.")),
        (MemoryError("no room"), ("failed", 1, "MemoryError: no room")),
        (Interrupted(15, "Saved."), ("interrupted", 143, "Saved.")),
        (KeyboardInterrupt(), ("interrupted", 130, "Stopped by Ctrl-C.")),
    ],
)
def test_what_ended_a_job_is_told(tmp_path, error, told):
    with pytest.raises(type(error)), recorded(tmp_path, "evaluate"):
        raise error
    found = stored(tmp_path)
    assert (found["status"], found["exit_code"], found["reason"]) == told
    trace = tmp_path / "error.txt"
    assert trace.exists() == (told[0] == "failed")
    if trace.exists():
        assert "raise error" in trace.read_text(encoding="utf-8")
    with recorded(tmp_path, "evaluate"):
        pass
    assert not trace.exists()


def test_a_long_job_notes_its_time_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "BEAT_SECONDS", 0.01)
    with recorded(tmp_path, "evaluate"):
        time.sleep(0.3)
        assert stored(tmp_path)["wall_seconds"] >= 0.1


def test_nothing_is_left_to_do_only_in_the_mode_that_finished(tmp_path):
    assert finished(tmp_path, "main") is None
    with recorded(tmp_path, "meta_train"):
        assert finished(tmp_path, "meta_train") is None
    assert finished(tmp_path, "meta_train") is not None
    assert finished(tmp_path, "main") is None
    with recorded(tmp_path, "main"):
        pass
    assert finished(tmp_path, "meta_train") is not None


def test_half_a_file_counts_as_none(tmp_path):
    (tmp_path / "job.json").write_text('{"status": "fin', encoding="utf-8")
    assert read(tmp_path) is None


def test_provenance_names_versions_commit_and_devices(tmp_path):
    found = provenance.provenance()
    assert found["jax"] == version("jax") == jax.__version__
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert provenance.commit(tmp_path) == f"mulo {version('mulo')}" == f"mulo {found['mulo']}"
    assert (provenance.accelerator() == "none") == (jax.default_backend() == "cpu")


def test_a_changed_checkout_is_dirty(tmp_path):
    def git(*arguments):
        own = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(own, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8").stdout.strip()

    git("init")
    (tmp_path / "file").write_text("1", encoding="utf-8")
    git("add", "file")
    git("commit", "-m", "One")
    head = git("rev-parse", "HEAD")[:12]
    assert provenance.commit(tmp_path) == head
    (tmp_path / "file").write_text("2", encoding="utf-8")
    assert provenance.commit(tmp_path) == f"{head}-dirty"
    (tmp_path / "inside").mkdir()
    assert provenance.commit(tmp_path / "inside").startswith("mulo ")


def test_a_second_process_is_refused_or_waits_until_the_first_is_dead(tmp_path, holder):
    assert locks.held(tmp_path)
    with pytest.raises(BusyError, match="in use by another"), locks.locked(tmp_path, print, wait=False):
        pass
    said = []

    def announce(text):
        said.append(text)
        holder.send_signal(signal.SIGKILL)

    with locks.locked(tmp_path, announce):
        assert holder.wait() == -signal.SIGKILL
        assert locks.held(tmp_path)
    assert len(said) == 1
    assert "waiting" in said[0]
    assert not locks.held(tmp_path)


def test_a_lock_whose_folder_was_taken_away_is_taken_anew(tmp_path, holder):
    """Who waited for a file that is gone would be alone with it."""

    def take_away(text):
        (tmp_path / ".lock").unlink()
        holder.kill()

    with locks.locked(tmp_path, take_away):
        assert locks.held(tmp_path)
        with pytest.raises(BusyError), locks.locked(tmp_path, print, wait=False):
            pass


def test_where_a_file_system_knows_no_locks_the_job_goes_on_with_a_warning(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    said = []
    with locks.locked(tmp_path, said.append):
        assert said == [
            f"{tmp_path} cannot be locked (No locks available): make sure that only one process writes into it."
        ]


@pytest.mark.parametrize(
    ("wish", "told", "leads"),
    [
        ("auto", {}, True),
        ("never", {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, True),
        ("auto", {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, False),
        ("auto", {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, True),
        ("auto", {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, False),
        ("auto", {"SLURM_STEP_NODELIST": "a", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, True),
        ("always", {}, False),
    ],
)
def test_of_several_processes_the_first_is_to_lead(monkeypatch, wish, told, leads):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert distributed.will_lead(wish) == leads


def test_rows_tell_the_last_event_of_each_job(tmp_path, holder):
    log = Log(tmp_path / "events" / "log.jsonl", "elsewhere:1")
    log.append("started", job=0, overrides=["a=0"], directory=str(tmp_path / "nobody"))
    log.append("started", job=1, overrides=["a=1"], directory=str(tmp_path))
    log.append("started", job=2, overrides=["a=2"])
    log.append("finished", job=2, overrides=["a=2"], exit_code=0, seconds=2.5)
    with log.path.open("a", encoding="utf-8") as file:
        file.write('{"event": "fini')  # a line under way
    found = [settled(row) for row in rows(log.read(), [[f"a={value}"] for value in range(4)])]
    assert [row.status for row in found] == ["killed", "running", "finished", "not started"]
    assert [row.exit_code for row in found] == [1, 1, 0, 1]
    assert found[2].seconds == 2.5
    assert log.stop() is None
