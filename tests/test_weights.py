"""θ as portable files: what comes back is what was exported, and what ships is found by its name."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from safetensors.numpy import load_file, save

import mulo
from mulo import checkpoint, trees, weights
from mulo.config import parse
from mulo.errors import CheckpointError, ConfigError
from mulo.evaluation.results import RESULTS
from mulo.jobs.job_folders import JobFolder, described
from mulo.launch import dispatch, preflight
from mulo.process.status import Status

ROOT = Path(__file__).parents[1]
THETAS = ROOT / "experiments/theta"
NAMES = sorted(path.name for path in THETAS.iterdir())


def raw(source, output, **more):
    return {"mode": "export", "checkpoint": str(source), "export": {"output": str(output), **more}}


def exported(source, output, **more):
    config = preflight.resolve(raw(source, output, **more), ())
    assert dispatch._lead(config, Console(quiet=True)) == 0
    return weights.find(output) or Path(f"{output}.safetensors")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An export of every θ under experiments/."""
    folder = tmp_path_factory.mktemp("weights")
    return {name: exported(THETAS / name, folder / name) for name in NAMES}


@pytest.fixture
def copy(files, tmp_path):
    """One of them, to be damaged."""
    for path in (files["small_fc_mup"], weights.card_of(files["small_fc_mup"])):
        shutil.copy(path, tmp_path)
    return tmp_path / "small_fc_mup.safetensors"


@pytest.fixture
def shipping(files, monkeypatch, tmp_path):
    """As if they shipped with mulo; the working directory is empty."""
    monkeypatch.setattr(weights, "FOLDER", files[NAMES[0]].parent)
    monkeypatch.chdir(tmp_path)


def update(loaded):
    params = {"w": jnp.linspace(-1, 1, 12).reshape(4, 3), "b": jnp.ones(3)}
    transform = loaded.transform(10, {"w": 0.25, "b": 1.0})
    return transform.update(params, transform.init(params), params, value=jnp.float32(2.0))[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_back_is_what_was_exported(files, name):
    before, after = mulo.load(THETAS / name), mulo.load(files[name])
    assert jax.tree.structure(after.theta) == jax.tree.structure(before.theta)
    assert trees.digest(after.theta) == trees.digest(before.theta) == after.meta.digests["theta"]
    assert (after.optimizer, after.meta.step) == (before.optimizer, before.meta.step)
    jax.tree.map(np.testing.assert_array_equal, update(after), update(before))


def test_the_file_is_plain_safetensors_with_names_of_paths(files):
    arrays = load_file(files["velo_mup"])
    theta = mulo.load(THETAS / "velo_mup").theta
    np.testing.assert_array_equal(arrays["mlp/w0"], theta["mlp"].w0)
    np.testing.assert_array_equal(arrays["lstm/initial/cell"], theta["lstm"].initial.cell)


def test_shipped_weights_go_by_their_name(shipping, files):
    loaded = mulo.load("celo2_mup")
    assert trees.digest(loaded.theta) == trees.digest(mulo.load(files["celo2_mup"]).theta)
    config = preflight.resolve({"mode": "evaluate", "checkpoint": "celo2_mup", "logger": {"name": "none"}}, ())
    assert config.optimizer == loaded.optimizer
    assert trees.digest(dispatch._given_theta(config)) == trees.digest(loaded.theta)
    job = described(JobFolder(Path("job"), config), ())
    assert job.theta == loaded.meta.digests["theta"]
    assert job.trained_widths == {"vit": [32]}


def test_a_twin_goes_by_its_name(shipping):
    asked = {"mode": "evaluate", "checkpoint": "celo2_mup", "evaluation": {"sp_twin": "celo2_mup"}}
    with pytest.raises(ConfigError, match=r"sp_twin=celo2_mup is invalid.*This one holds celo2_mup"):
        preflight.resolve(asked, ())


def test_an_unknown_name_is_refused_with_what_ships(shipping):
    with pytest.raises(CheckpointError, match=r"velo_np does not exist, .*celo2_mup, small_fc_mup, velo_mup.*run dir"):
        mulo.load("velo_np")
    with pytest.raises(CheckpointError, match=r"^there/velo_mup does not exist\. Give"):
        mulo.load("there/velo_mup")


def test_an_existing_path_is_not_the_name_of_what_ships(shipping):
    Path("velo_mup").mkdir()
    with pytest.raises(CheckpointError, match="velo_mup holds no checkpoint"):
        mulo.load("velo_mup")


def test_a_changed_byte_is_told_without_jax(copy):
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    script = f"""
import sys
from mulo import checkpoint, errors
try:
    checkpoint.read_meta({str(copy)!r})
except errors.CheckpointError as error:
    print(error)
print([name for name in ("jax", "safetensors") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    said, loaded = done.stdout.strip().split("\n")
    assert "SHA-256 is not that on its card" in said
    assert loaded == "[]"


def changed_card(file, **changes):
    card = weights.card_of(file)
    stored = json.loads(card.read_text("utf-8"))
    card.write_text(json.dumps(stored | changes), encoding="utf-8")
    return stored


def test_arrays_that_do_not_fit_the_settings_are_refused(copy):
    stored = changed_card(copy)
    changed_card(copy, optimizer=stored["optimizer"] | {"hidden_size": 5})
    with pytest.raises(CheckpointError, match=r"mlp/w0 is float32 of shape \[39, 4\]; expected .*\[39, 5\]"):
        mulo.load(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays.pop("mlp/b1"), r"mlp/b1 is no array; expected float32 of shape \[4\]"),
        (lambda arrays: arrays.update(more=np.zeros(2, np.float32)), r"more is float32 of shape \[2\]; expected no"),
        (lambda arrays: arrays.update({"mlp/b1": np.zeros(4)}), r"mlp/b1 is float64"),
        (lambda arrays: arrays.update({"mlp/b1": np.ones(4, np.float32)}), "not those that were written"),
    ],
)
def test_other_arrays_than_those_of_theta_are_refused(copy, change, said):
    arrays = load_file(copy)
    change(arrays)
    copy.write_bytes(save(arrays))
    changed_card(copy, sha256=weights.sha256(copy.read_bytes()))
    with pytest.raises(CheckpointError, match=said):
        mulo.load(copy)


def test_a_file_that_is_no_safetensors_is_refused(copy):
    copy.write_bytes(b"no header")
    changed_card(copy, sha256=weights.sha256(b"no header"))
    with pytest.raises(CheckpointError, match="damaged"):
        mulo.load(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2, "mulo_version": "9"}, r"format 2; expected at most 1\. mulo 9 wrote it"),
        ({"optimizer": {"architecture": "os.system"}}, "one of small_fc, velo"),
    ],
)
def test_cards_that_cannot_be_read_are_refused(copy, changes, said):
    changed_card(copy, **changes)
    with pytest.raises((CheckpointError, ConfigError), match=said):
        mulo.load(copy)


def test_a_missing_or_cut_card_is_refused(copy):
    card = weights.card_of(copy)
    card.write_text(card.read_text("utf-8")[:100], encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"small_fc_mup\.json are damaged"):
        mulo.load(copy)
    card.unlink()
    with pytest.raises(CheckpointError, match=r"small_fc_mup\.json does not exist.*side by side"):
        mulo.load(copy)


def test_the_card_says_how_theta_came_about(tmp_path):
    """A run directory with two rounds of results by hand: two seeds, of which one diverged."""
    shutil.copytree(THETAS / "small_fc_mup", tmp_path / "run/checkpoints/last/300")
    origin = {"commit": "abc", "cores": 4}
    ended = Status("finished", "meta_train", wall_seconds=1800.0, provenance=origin)
    (tmp_path / "run/job.json").write_text(json.dumps(asdict(ended)), encoding="utf-8")
    head = {"method": "mine", "parametrization": "mup", "task": "mlp", "data": "d", "width": 8, "depth": 1}
    head |= {"num_steps": 5, "meta_seed": 0}
    losses = [(0, "train", 1.0), (0, "test", 2.0), (1, "train", 3.0), (1, "test", 6.0), (2, "train", np.nan)]
    rows = [{**head, "seed": seed, "split": split, "loss": loss, "status": "finished"} for seed, split, loss in losses]
    rows[-1]["status"] = "diverged(3)"
    RESULTS.write(pd.DataFrame(rows), tmp_path / "run/evaluation/results.csv")
    card = weights.read_card(exported(tmp_path / "run", tmp_path / "mine", loses=["at 10^6 steps"]))
    assert (card.core_hours, card.provenance, card.loses) == (2.0, origin, ["at 10^6 steps"])
    assert (card.step, card.config["recipe"]["outer_steps"], card.config["seed"]) == (300, 300, 0)
    assert "run_dir" not in card.config
    kept = {name: head[name] for name in head if name != "meta_seed"}
    assert card.evaluation == [{**kept, "train": 2.0, "test": 4.0, "seeds": 3, "finished": 2}]


def test_a_card_holds_no_folders_of_the_machine(tmp_path):
    shutil.copytree(THETAS / "small_fc_mup", tmp_path / "theta")
    metadata = tmp_path / "theta/meta/metadata"
    meta = json.loads(metadata.read_text("utf-8"))
    meta["config"]["data"] = {"name": "cifar10", "path": "/home/me/cifar-10-binary.tar.gz"}
    metadata.write_text(json.dumps(meta), encoding="utf-8")
    card = weights.read_card(exported(tmp_path / "theta", tmp_path / "mine"))
    assert card.config["data"] == {"name": "cifar10", "path": "cifar-10-binary.tar.gz"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"output": None}, r"mode=export needs export\.output"),
        ({"output": "there/mine"}, r"existing folder.*there does not exist"),
        ({"output": "mine", "results": "none.csv"}, r"export\.results=none\.csv"),
        ({"output": "taken"}, r"export\.output=taken\.safetensors is invalid; expected a new file"),
    ],
)
def test_exports_that_cannot_be_are_refused(changes, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken.json").touch()
    with pytest.raises(ConfigError, match=said):
        preflight.resolve({"mode": "export", "checkpoint": str(THETAS / "small_fc_mup"), "export": changes}, ())
    assert [path.name for path in tmp_path.iterdir()] == ["taken.json"]


def test_what_is_portable_is_not_exported_again(shipping):
    with pytest.raises(ConfigError, match=r"checkpoint=velo_mup is invalid; expected a run directory\. Copy"):
        preflight.resolve(raw("velo_mup", "mine"), ())


def test_an_export_is_asked_for_by_its_mode():
    with pytest.raises(ConfigError, match="mode=export needs checkpoint"):
        parse({"mode": "export", "export": {"output": "mine"}})
    with pytest.raises(ConfigError, match="null unless mode=export"):
        parse({"export": {"output": "mine"}})


def test_what_ships_is_small_sound_and_written_up():
    """Also where nothing ships."""
    folder = Path(str(resources.files("mulo.weights")))
    assert folder == weights.FOLDER
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")) < 3e6
    text = (ROOT / "docs/weights.md").read_text("utf-8")
    for name in weights.shipped():
        assert f"`{name}`" in text
        meta = checkpoint.read_meta(name)
        assert trees.digest(mulo.load(name).theta) == meta.digests["theta"]
    assert {path.stem for path in folder.glob("*.json")} == set(weights.shipped())
