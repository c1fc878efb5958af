"""mode=report as its user starts it, and what it refuses before anything is written."""

import subprocess
import sys
from pathlib import Path

import pytest

from mulo.errors import ConfigError
from mulo.jobs.gather import without_paths
from mulo.launch import preflight
from tests.command import mulo
from tests.reporting import sweep_directory as sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return sweep.write_sweep(tmp_path_factory.mktemp("runs") / "made_up-cpu", sweep.separated, seeds=2)


@pytest.fixture(scope="module")
def reported(jobs):
    done = mulo("mode=report", "report.of=made_up-cpu", cwd=jobs.parent)
    assert done.code == 0, done.err
    return jobs.parent / "experiments/figure_made_up", done


def refused(**report):
    with pytest.raises(ConfigError) as found:
        preflight.resolve({"mode": "report", "report": report}, set())
    return str(found.value)


def test_a_place_that_cannot_be_written_is_refused(jobs):
    assert "cannot be written" in refused(of=str(jobs), into="/proc")


def test_a_sweeps_directory_becomes_a_record(reported):
    folder, done = reported
    names = {path.name for path in folder.iterdir()}
    text = {"README.md", "index.html", "record.json", "results.csv", "curves.npz"}
    assert names == text | {"figure.png", "figure.svg"}
    assert "Record: experiments/figure_made_up/README.md" in done.out
    assert not (folder.parents[1] / "runs").exists()


def test_a_record_is_written_anew_in_its_place(reported):
    folder, _ = reported
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("README.md", "index.html", "figure.svg"):
        (folder / name).unlink()
    done = mulo("mode=report", "report.of=experiments/figure_made_up", cwd=folder.parents[1])
    assert done.code == 0, done.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_place_and_the_name_can_be_chosen(jobs, tmp_path):
    done = mulo("mode=report", f"report.of={jobs}", "report.into=elsewhere", "report.name=mine", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (
        (tmp_path / "elsewhere/mine/README.md").read_text(encoding="utf-8").startswith("# figure/made_up, scale cpu\n")
    )


def test_jax_is_not_loaded(jobs, tmp_path):
    code = (
        "import sys; from mulo.launch import attempt, preflight\n"
        f"config = preflight.resolve({{'mode': 'report', 'report': {{'of': {str(jobs)!r}}}}}, set())\n"
        "assert attempt.alone(config) == 0\n"
        "print([name for name in ('jax', 'flax', 'orbax', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_is_no_sweep_is_refused(tmp_path):
    assert "no such directory" in refused(of=str(tmp_path / "missing")).lower()
    assert "no config.yaml in any folder" in refused(of=str(tmp_path))
    (tmp_path / "job").mkdir()
    (tmp_path / "job/config.yaml").write_text("a: [\n", encoding="utf-8")
    assert "is not the configuration of a job" in refused(of=str(tmp_path))
    (tmp_path / "job/config.yaml").write_text("colour: blue\n", encoding="utf-8")
    assert "colour=blue is not a setting" in refused(of=str(tmp_path))
    with pytest.raises(ConfigError, match=r"mode=report needs report\.of"):
        preflight.resolve({"mode": "report"}, set())


def test_jobs_of_two_sweeps_are_refused(tmp_path):
    sweep.write_job(tmp_path / "a", sweep.config(), [(16, 4, 0, 1.0)])
    sweep.write_job(tmp_path / "b", sweep.config(head=sweep.sweep_head(name="figure/other")), [(16, 4, 0, 1.0)])
    said = refused(of=str(tmp_path))
    assert "the jobs of one sweep at one scale" in said
    assert "figure/made_up (cpu), figure/other (cpu)" in said


def test_a_taken_place_is_refused(jobs, tmp_path):
    into = str(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    assert "is not a record" in refused(of=str(jobs), into=into, name="taken")
    (tmp_path / "file").touch()
    assert "is not a record" in refused(of=str(jobs), into=into, name="file")
    assert (tmp_path / "taken/file").exists()


def test_another_sweeps_record_is_not_written_over(reported, tmp_path):
    folder, _ = reported
    sweep.write_job(tmp_path / "a", sweep.config(head=sweep.sweep_head(name="figure/other")), [(16, 4, 0, 1.0)])
    said = refused(of=str(tmp_path), into=str(folder.parent), name=folder.name)
    assert "holds the record of another sweep, figure/made_up at scale cpu" in said
    assert "report.name=<name>" in said


def test_a_record_has_its_name_already(reported):
    assert "rename its folder" in refused(of=str(reported[0]), name="new")


def test_places_are_cut_out_of_reasons():
    assert without_paths("No file: /home/me/a b/x.bin, ~/y/z") == "No file: …/a b/x.bin, …/z"
    assert without_paths("loss/θ is 1/2, at runs/theta/x") == "loss/θ is 1/2, at runs/theta/x"
    assert without_paths("'/data/set.npz' and C:/data/set.npz") == "'…/set.npz' and …/set.npz"
