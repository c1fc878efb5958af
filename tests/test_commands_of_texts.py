"""The commands that README and guides show are taken by mulo as they stand, and run at the smallest size."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mulo.config import parse
from mulo.launch import preflight
from mulo.run import _explicit_keys, _planned, bundled, register
from tests.command import TINY, mulo
from tests.commands_of_texts import COMPOSED, ROOT, RUN, TEXTS, all_commands, filled, mulo_commands, only_composed
from tests.data import published_files
from tests.reporting import sweep_directory

THETA = str(ROOT / "experiments/theta/velo_mup")
SMALL = ("recipe=smoke", "task.widths=[4]", "task.batch_size=4", "logger=none")
SHORT = ("evaluation.num_steps=3", "evaluation.seeds=1")
SHRINK = {
    "main": (*SMALL, *SHORT, "evaluation.widths=[4]"),
    "meta_train": SMALL,
    "evaluate": ("task.batch_size=4", *SHORT, "logger=none"),
    "coordinate_check": (
        *("task.batch_size=4", "logger=none", "coordinate_check.widths=[4,8]", "coordinate_check.times=[1]"),
        *("coordinate_check.seeds=1", "coordinate_check.tolerance=100"),
    ),
    "parameters": ("logger=none",),
    "plan": ("plan.seconds=0.1",),
}
"""By mode: what makes a command small, typed after its own words."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with what commands read: sweeps, a record, a sweep's jobs, and images as they are published."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "sweeps").symlink_to(ROOT / "sweeps")
    shutil.copytree(ROOT / "experiments/figure_width", folder / "experiments/figure_width")
    head = OmegaConf.to_container(OmegaConf.load(ROOT / "sweeps/figure/width.yaml").sweep)
    for method in ("µLO_M", "AdamW"):
        settings = sweep_directory.config(method, head=head)
        rows = [(width, 20, 0, 1.0) for width in (8, 16)]
        sweep_directory.write_job(folder / "runs/figure/width-cpu" / method, settings, rows)
    published_files.cifar10(folder / "images")
    published_files.archive(folder / "images", folder / "cifar.tar.gz")
    return folder


@pytest.fixture(scope="module")
def composing() -> Iterator[None]:
    register()
    with initialize_config_dir(bundled("conf"), version_base="1.3"):
        yield


def jobs(words: list[str]) -> list[list[str]]:
    """The overrides of the first and the last job that a command starts; of files under sweeps/ of the first."""
    own = [word for word in words if word not in ("-m", "--help", "--config-dir", "sweeps")]
    if "-m" not in words:
        return [own]
    of_a_file = _of_a_file(words)
    config = compose("config", own if of_a_file else [], return_hydra_config=True)
    config.hydra.overrides.task = own
    planned = _planned(config)
    return [planned[0]] if of_a_file else [planned[0], planned[-1]]


def _of_a_file(words: Sequence[str]) -> bool:
    return any(word.startswith("+") for word in words)


def test_there_are_commands_in_every_place_where_they_are_expected():
    assert len(mulo_commands()) >= 19
    assert {words[0] for words in all_commands()} == {"python", "make"}
    assert all(list(words[:3]) == RUN for words in all_commands() if words[0] == "python")
    assert all(any(word in words for words in all_commands()) for word in COMPOSED)
    assert "docs/sweeps.md" in TEXTS


@pytest.mark.parametrize("words", mulo_commands(), ids=" ".join)
def test_the_command_is_taken_as_it_stands(words, place, composing, monkeypatch):
    monkeypatch.chdir(place)
    for overrides in jobs(filled(words, THETA, str(place / "cifar.tar.gz"))):
        plain = OmegaConf.to_container(compose("config", overrides), resolve=True)
        if only_composed(words):
            assert parse(plain).mode
        else:
            assert preflight.resolve(plain, _explicit_keys(overrides)).mode


@pytest.mark.parametrize("words", [own for own in all_commands() if own[0] == "make"], ids=" ".join)
def test_the_target_is_there(words):
    done = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run_directory(place) -> str:
    """A meta-training of seconds, for commands that go on from one."""
    done = mulo("mode=meta_train", "run_dir=meta-trained", *TINY, cwd=place)
    assert done.code == 0, done.err
    return str(place / "meta-trained")


def smaller(words: tuple[str, ...]) -> list[str]:
    """What is typed after a command's own words."""
    if "--help" in words:
        return []
    if _of_a_file(words):
        return ["scale=smoke"]
    mode = next((word.partition("=")[2] for word in words if word.startswith("mode=")), "main")
    measured = mode == "plan" and not any(word.startswith("plan.device=") for word in words)
    return [*SHRINK.get(mode, ()), *(SMALL if measured else ())]


@pytest.mark.slow
@pytest.mark.parametrize("words", [own for own in mulo_commands() if not only_composed(own)], ids=" ".join)
def test_the_command_runs(words, place, run_directory):
    typed = filled(words, run_directory, str(place / "cifar.tar.gz"))
    done = mulo(*typed, *smaller(words), cwd=place)
    assert done.code == 0, done.out[-1000:] + done.err[-2000:]
    assert "Traceback" not in done.err
