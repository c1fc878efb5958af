"""Where a job's θ comes from: a user's file of Haiku names, or a meta-training that a coordinate check begins with."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mulo.errors import ReferenceFileError
from mulo.exchange.reference import read_theta
from tests.command import TINY, mulo

REFERENCE = Path(__file__).parents[1] / "reference" / "small_fc_mup_h4.npz"
CHECK = ("mode=coordinate_check", "coordinate_check.widths=[4,8]", "coordinate_check.times=[1,2]")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A file with θ and settings alone."""
    path = tmp_path_factory.mktemp("bare") / "theta.npz"
    with np.load(REFERENCE) as file:
        np.savez(path, **{name: file[name] for name in file.files if name.startswith(("theta/", "config/"))})
    return path


def test_theta_of_a_file_without_a_trajectory_is_what_the_file_holds(bare):
    theta = read_theta(bare)
    with np.load(bare) as file:
        assert np.array_equal(theta["mlp"].b0, file["theta/nn/~/b0"])


def test_a_file_without_theta_is_refused(tmp_path):
    np.savez(tmp_path / "no.npz", **{"config/architecture": np.array("velo")})
    with pytest.raises(ReferenceFileError, match="holds no θ"):
        read_theta(tmp_path / "no.npz")


@pytest.mark.slow
def test_a_file_is_evaluated(bare, tmp_path):
    settings = (
        "task.widths=[4]",
        "task.depth=1",
        "evaluation.num_steps=3",
        "evaluation.seeds=1",
        "evaluation.baselines=[]",
    )
    done = mulo(
        "mode=evaluate", f"reference={bare}", "name=file", *settings, "logger=none", "run_dir=run", cwd=tmp_path
    )
    assert done.code == 0, done.err
    assert {row["method"] for row in rows(tmp_path / "run/results.csv")} == {"file"}


@pytest.mark.slow
def test_a_check_that_meta_trains_finds_what_a_check_of_its_checkpoint_finds(tmp_path):
    """On the evaluation's task, which is deeper than the one of meta-training."""
    check = (*CHECK, "coordinate_check.tolerance=100", *TINY)
    own = ("coordinate_check.meta_train=true", "+task@evaluation.task=mlp", "evaluation.task.depth=2", "run_dir=own")
    assert mulo(*check, *own, "evaluation.task.batch_size=8", cwd=tmp_path).code == 0
    then = ("checkpoint=own", "task.depth=2", "run_dir=then")
    assert (
        mulo(*(key for key in check if not key.startswith(("optimizer", "task.depth"))), *then, cwd=tmp_path).code == 0
    )
    fresh = mulo(*check, "task.depth=2", "run_dir=fresh", cwd=tmp_path)
    assert fresh.code == 0, fresh.err
    found = {name: rows(tmp_path / name / "coordinate_check.csv") for name in ("own", "then", "fresh")}
    assert found["own"] == found["then"] != found["fresh"]


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
