"""θ and all that gives it meaning come back as they were, or not at all."""

import errno
import json
import os
import resource
import shutil
from contextlib import contextmanager

import jax
import numpy as np
import optax
import pytest

import mulo
from mulo import checkpoint, trees
from mulo.checkpoint import CheckpointWriter, find, latest, load, read_meta, restore
from mulo.errors import CheckpointError, FullDiskError
from mulo.optimizers import SmallFC, VeLO
from mulo.process import full_disk

SETTINGS = SmallFC(hidden_size=3, step_mult=0.02)
STATE = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": (np.int32(7), ())}


@pytest.fixture(scope="module")
def theta():
    return SETTINGS.init(jax.random.key(3))


@pytest.fixture
def run(tmp_path, theta):
    with CheckpointWriter(tmp_path, SETTINGS, {"seed": 5}) as writer:
        for step in (2, 4, 6):
            writer.save(step, theta, STATE)
        for step in (2, 4):
            writer.save_best(step, theta)
    return tmp_path


def test_load_returns_theta_and_its_settings(run, theta):
    loaded = mulo.load(run)
    assert loaded.meta.optimizer == SETTINGS
    assert loaded.optimizer == SETTINGS
    assert (loaded.meta.step, loaded.meta.config["seed"], loaded.meta.mulo_version) == (6, 5, mulo.__version__)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), loaded.theta, theta))


def test_a_loaded_optimizer_works_as_an_optax_transformation(run):
    loaded = load(run)
    params = {"w": jax.numpy.ones((3, 2))}
    transform = optax.chain(loaded.optimizer.transform(loaded.theta, 10, {"w": 1.0}))
    updates, _ = transform.update(params, transform.init(params), params)
    assert np.isfinite(updates["w"]).all()
    assert np.abs(updates["w"]).max() > 0


def test_the_last_two_and_the_best_are_kept(run):
    kept = {kind: sorted(path.name for path in (run / "checkpoints" / kind).iterdir()) for kind in ("last", "best")}
    assert kept == {"last": ["4", "6"], "best": ["4"]}


def test_the_best_holds_theta_and_settings_only(run):
    items = {path.name for path in (run / "checkpoints/best/4").iterdir() if path.is_dir()}
    assert items == {"theta", "meta"}
    assert load(run / "checkpoints/best/4").meta.step == 4


def test_state_comes_back_bit_for_bit(run):
    state = restore(read_meta(run), {"state": STATE})["state"]
    assert trees.digest(state) == trees.digest(STATE)


def test_a_run_directory_means_its_last_checkpoint(run):
    assert find(run).name == "6"
    assert find(run / "checkpoints/last").name == "6"
    assert find(run / "checkpoints/last/4").name == "4"


def test_a_path_may_begin_at_the_home_directory(run, monkeypatch):
    monkeypatch.setenv("HOME", str(run.parent))
    assert load(f"~/{run.name}").meta.step == 6


def test_arrays_that_changed_are_refused(run, theta):
    metadata = run / "checkpoints/last/6/meta/metadata"
    meta = json.loads(metadata.read_text(encoding="utf-8"))
    meta["digests"]["theta"] = trees.digest(jax.tree.map(lambda x: x + 1, theta))
    metadata.write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not those that were written"):
        load(run)
    assert load(run / "checkpoints/last/4").meta.step == 4


def test_settings_that_do_not_fit_the_arrays_are_refused(run):
    metadata = run / "checkpoints/last/6/meta/metadata"
    meta = json.loads(metadata.read_text(encoding="utf-8"))
    metadata.write_text(json.dumps(meta | {"optimizer": meta["optimizer"] | {"hidden_size": 5}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        load(run)


def test_velo_comes_back_as_velo(tmp_path):
    settings = VeLO(lstm_hidden_size=3, param_inits=2)
    theta = settings.init(jax.random.key(0))
    with CheckpointWriter(tmp_path, settings, {}) as writer:
        writer.save_best(1, theta)
    loaded = load(tmp_path / "checkpoints/best/1")
    assert jax.tree.structure(loaded.theta) == jax.tree.structure(theta)
    assert trees.digest(loaded.theta) == trees.digest(theta)


def test_a_digest_sees_values_shapes_dtypes_and_names():
    tree = {"a": np.zeros((2, 3), np.float32)}
    others = [
        {"b": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((3, 2), np.float32)},
        {"a": np.zeros((2, 3), np.int32)},
        {"a": np.full((2, 3), 1e-45, np.float32)},
    ]
    assert len({trees.digest(other) for other in [tree, *others]}) == 5


def theta_file(folder):
    return next(path for path in sorted((folder / "theta").rglob("*")) if path.is_file() and path.stat().st_size > 50)


def test_damage_is_told_from_the_files_alone(run):
    damaged = theta_file(find(run))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=rf"{damaged.name} is not what was written"):
        read_meta(run)
    damaged.unlink()
    with pytest.raises(CheckpointError, match=rf"{damaged.name} is missing"):
        read_meta(run)


def test_a_checkpoint_of_a_version_that_wrote_no_checksums_is_read(run, theta):
    as_before_checksums(find(run))
    loaded = load(run)
    assert loaded.meta.step == 6
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), loaded.theta, theta))


def as_before_checksums(folder):
    metadata = folder / "meta/metadata"
    meta = json.loads(metadata.read_text(encoding="utf-8"))
    del meta["checksums"]
    metadata.write_text(json.dumps(meta), encoding="utf-8")
    (folder / "checksums.json").unlink()


def cut_before_the_rename(step):
    for name in ("theta", "meta"):
        (step / name).rename(step / f"{name}.orbax-checkpoint-tmp")
    (step / "checksums.json").unlink()
    step.rename(step.with_name(f"{step.name}.orbax-checkpoint-tmp"))


def cut_in_the_middle(step):
    cut_before_the_last_file(step)
    shutil.rmtree(step / "theta")


def cut_before_the_last_file(step):
    (step / "checksums.json").unlink()


def cut_at_the_start(step):
    shutil.rmtree(step)
    step.mkdir()


CUTS = [cut_before_the_rename, cut_in_the_middle, cut_before_the_last_file, cut_at_the_start]


@pytest.mark.parametrize("cut", CUTS)
def test_what_a_cut_save_left_is_stepped_over_and_cleared(run, theta, cut):
    steps = [run / "checkpoints/last/6", run / "checkpoints/best/4"]
    for step in steps:
        cut(step)
    assert load(run).meta.step == latest(run).step == 4
    with CheckpointWriter(run, SETTINGS, {}) as writer:
        left = {kind: [path.name for path in (run / "checkpoints" / kind).iterdir()] for kind in ("last", "best")}
        assert left == {"last": ["4"], "best": []}
        writer.save(6, theta, STATE)
        writer.save_best(4, theta)
    assert [load(step).meta.step for step in steps] == [6, 4]


@pytest.mark.parametrize("cut", CUTS)
def test_an_only_save_that_was_cut_off_is_no_checkpoint(tmp_path, theta, cut):
    with CheckpointWriter(tmp_path, SETTINGS, {}) as writer:
        writer.save(1, theta, STATE)
    cut(tmp_path / "checkpoints/last/1")
    assert latest(tmp_path) is None
    for place in (tmp_path, tmp_path / "checkpoints/last", *(tmp_path / "checkpoints/last").iterdir()):
        with pytest.raises(CheckpointError, match=rf"^{place} holds no checkpoint"):
            load(place)


def test_a_save_whose_last_file_finds_no_room_leaves_the_best_so_far(run, theta, monkeypatch):
    def no_room(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "checksums", no_room)
    with CheckpointWriter(run, SETTINGS, {}) as writer:
        for save in (lambda: writer.save_best(6, theta), lambda: writer.save(8, theta, STATE)):
            with pytest.raises(OSError, match="No space left"):
                save()
    kept = {kind: sorted(path.name for path in (run / "checkpoints" / kind).iterdir()) for kind in ("last", "best")}
    assert kept == {"last": ["4", "6"], "best": ["4"]}
    assert load(run / "checkpoints/best").meta.step == 4


@contextmanager
def no_larger_files(limit):
    """As on a full disk: a write beyond this many bytes fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_save_that_finds_the_disk_full_leaves_the_earlier_ones(run, theta):
    with (
        CheckpointWriter(run, SETTINGS, {}) as writer,
        pytest.raises(FullDiskError, match=rf"^{run} could not be written: File too large\. What was saved before is"),
        full_disk.explained(run),
        no_larger_files(500),
    ):
        writer.save(8, theta, STATE)
    assert load(run).meta.step == 6
    with CheckpointWriter(run, SETTINGS, {}) as writer:
        writer.save(8, theta, STATE)
    assert load(run).meta.step == 8
