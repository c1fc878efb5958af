"""What earlier versions stored is read, and what people remember typing is understood.

tests/stored/run was written before an architecture had one class of settings: its task is called mlp_multiwidth, and
has widths but neither an architecture nor a width.
"""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mulo import checkpoint
from mulo.config import MLPConfig, ViTConfig, parse, parse_group, renamed
from mulo.errors import ConfigError
from mulo.jobs.evaluate import trained_widths
from mulo.process import run_directory
from mulo.run import current
from tests.command import TINY
from tests.test_configs import composed

RUN = Path(__file__).parent / "stored" / "run"
CHECKPOINT = RUN / "checkpoints" / "best" / "6"
ROOT = Path(__file__).parents[1]


def again(*overrides):
    """The command that has written the directory, and more."""
    return composed("mode=meta_train", f"run_dir={RUN}", *TINY, *overrides)


def test_the_file_is_of_the_old_format():
    task = OmegaConf.load(RUN / "config.yaml").task
    assert task.name == "mlp_multiwidth"
    assert not {"architecture", "width"} & set(task)


def test_a_run_directory_goes_on_under_the_same_command():
    assert run_directory.read(RUN / "config.yaml").task == MLPConfig(
        name="mlp_multiwidth", widths=[4], depth=1, batch_size=8
    )
    run_directory.check(again())


def test_other_settings_are_still_refused_there():
    with pytest.raises(ConfigError, match=r"other settings: task\.depth is 1 there and 2 here\. Choose"):
        run_directory.check(again("task.depth=2"))


def test_a_checkpoint_is_read():
    assert checkpoint.load(CHECKPOINT).meta.step == 6
    assert "architecture" not in checkpoint.read_meta(CHECKPOINT).config["task"]
    evaluated = again("mode=evaluate", f"checkpoint={CHECKPOINT}")
    assert trained_widths(evaluated, evaluated.task) == [4]


STORED = sorted({*ROOT.glob("experiments/*/*.yaml")})


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_configurations_of_records_are_read(path):
    raw = OmegaConf.load(path)
    task = run_directory.read(path).task
    assert task.name == raw.task.name
    assert task.architecture == raw.task.name.removesuffix("_multiwidth")


@pytest.fixture
def _renamed(monkeypatch):
    """Names that no setting had, for some that there are; the last of a whole group."""
    old = {"evaluation.length": "evaluation.steps", "task.layers": "task.depth", "checks": "coordinate_check"}
    for key, today in old.items():
        monkeypatch.setitem(renamed.KEYS, key, today)


@pytest.mark.usefixtures("_renamed")
def test_old_keys_of_files_are_read_wherever_they_stand():
    task = {"architecture": "vit", "layers": 5}
    config = parse({"evaluation": {"length": 7, "steps": 3, "task": task}, "checks": {"seeds": 2, "tolerance": 0.5}})
    assert config.evaluation.steps == 7, "what was given wins over a default"
    assert config.evaluation.task == ViTConfig(depth=5)
    assert (config.coordinate_check.seeds, config.coordinate_check.tolerance) == (2, 0.5)
    assert parse_group("task", task) == ViTConfig(depth=5)


@pytest.mark.usefixtures("_renamed")
@pytest.mark.parametrize(
    ("typed", "today"),
    [
        ("evaluation.length=7", "evaluation.steps=7"),
        ("++task.layers=2", "++task.depth=2"),
        ("~evaluation.task.layers", "~evaluation.task.depth"),
        ("checks.widths=[4,8]", "coordinate_check.widths=[4,8]"),
        ("data@checks.x=lm1b", "data@coordinate_check.x=lm1b"),
    ],
)
def test_old_keys_of_commands_are_understood_with_a_line_that_names_the_new_one(typed, today, capsys):
    assert current(typed) == today
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"is called {today.lstrip('+~').partition('=')[0]} now" in printed


@pytest.mark.usefixtures("_renamed")
@pytest.mark.parametrize("typed", ["evaluation.lengths=7", "tasks.layers=1", "-m", "--help", "name=task.layers"])
def test_all_else_is_left_as_it_is(typed, capsys):
    assert current(typed) == typed
    assert capsys.readouterr().err == ""
