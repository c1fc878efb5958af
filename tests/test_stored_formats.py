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
from mulo.jobs.job_folders import JobFolder, described
from mulo.process import run_directory
from mulo.run import current
from tests.command import TINY
from tests.test_configs import composed

RUN = Path(__file__).parent / "stored" / "run"
CHECKPOINT = RUN / "checkpoints" / "best" / "6"
ROOT = Path(__file__).parents[1]


THEN = (
    "recipe=narrow",
    "recipe.name=quick",
    "recipe.scale.width=32",
    "recipe.scale.widths=[16,64]",
    "recipe.scale.evaluation_steps=200",
    "evaluation.theta0=false",
)
"""What commands left out when the directory was written, in today's words: the recipe and what stands beside θ."""


def again(*overrides):
    """The command that has written the directory, and more."""
    return composed("mode=meta_train", f"run_dir={RUN}", *THEN, *TINY, *overrides)


def test_the_file_is_of_the_old_format():
    stored = OmegaConf.load(RUN / "config.yaml")
    assert stored.task.name == "mlp_multiwidth"
    assert not {"architecture", "width"} & set(stored.task)
    assert (stored.evaluation.steps, stored.tuning.steps) == (4, 200)
    assert stored.evaluation.baselines == ["adamw", "mu_adam"]


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
    assert described(JobFolder(RUN, evaluated), ()).trained_widths == {"mlp": [4]}


def raw(key, value):
    """The nested settings of a job with one of them."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


ADAMW = {"architecture": "adamw", "learning_rate": 0.5}
EXAMPLES = {
    "evaluation.adamw": (ADAMW, "evaluation.adamw.learning_rate=0.5", "evaluation.baselines.adamw.learning_rate=0.5"),
    "evaluation.mu_adam": (ADAMW, "evaluation.mu_adam.b1=0.5", "evaluation.baselines.mu_adam.b1=0.5"),
    "evaluation.steps": (7, "evaluation.steps=7", "evaluation.num_steps=7"),
    "tuning.steps": (7, "tuning.steps=7", "tuning.num_steps=7"),
}
"""By former key: a value for it, an override of it, and today's override."""


def test_every_former_key_has_an_example():
    assert EXAMPLES.keys() == renamed.KEYS.keys()


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_former_key_acts_as_todays(key):
    value, former, today = EXAMPLES[key]
    expected = parse(raw(renamed.KEYS[key], value))
    assert parse(raw(key, value)) == expected != parse({})
    assert current(former) == today
    assert composed(today) != composed()


@pytest.mark.parametrize("former", renamed.OVERRIDES)
def test_a_former_list_of_baselines_acts_as_todays_override(former):
    """The override on the command line, and the list in a stored configuration beside the settings of both."""
    config = composed(current(former))
    names = OmegaConf.from_dotlist([former]).evaluation.baselines
    assert set(config.evaluation.baselines or {}) == set(names)
    settings = {"adamw": ADAMW, "mu_adam": ADAMW | {"parametrization": "mup"}}
    stored = parse({"evaluation": {"baselines": list(names)} | settings}).evaluation.baselines
    assert stored == {name: parse_group("optimizer", settings[name]) for name in names}


@pytest.mark.parametrize("former", [f"+{folder}=mulo_m" for folder in renamed.FOLDERS])
def test_a_former_folder_of_sweeps_is_found(former):
    assert composed(current(former)) == composed("+method=mulo_m")
    assert composed(current(former)).method == "µLO_M"


@pytest.fixture
def _renamed(monkeypatch):
    """Names that no setting had, for some that there are; the last of a whole group."""
    old = {"evaluation.length": "evaluation.num_steps", "task.layers": "task.depth", "checks": "coordinate_check"}
    for key, today in old.items():
        monkeypatch.setitem(renamed.KEYS, key, today)


@pytest.mark.usefixtures("_renamed")
def test_old_keys_of_files_are_read_wherever_they_stand():
    task = {"architecture": "vit", "layers": 5}
    config = parse(
        {"evaluation": {"length": 7, "num_steps": 3, "task": task}, "checks": {"seeds": 2, "tolerance": 0.5}}
    )
    assert config.evaluation.num_steps == 7, "what was given wins over a default"
    assert config.evaluation.task == ViTConfig(depth=5)
    assert (config.coordinate_check.seeds, config.coordinate_check.tolerance) == (2, 0.5)
    assert parse_group("task", task) == ViTConfig(depth=5)


@pytest.mark.usefixtures("_renamed")
@pytest.mark.parametrize(
    ("typed", "today"),
    [
        ("evaluation.length=7", "evaluation.num_steps=7"),
        ("++task.layers=2", "++task.depth=2"),
        ("~evaluation.task.layers", "~evaluation.task.depth"),
        ("checks.widths=[4,8]", "coordinate_check.widths=[4,8]"),
        ("data@checks.x=lm1b", "data@coordinate_check.x=lm1b"),
    ],
)
def test_former_keys_of_commands_are_understood_with_a_line_that_names_todays(typed, today, capsys):
    assert current(typed) == today
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"{typed} is deprecated; use {today}." in printed


@pytest.mark.usefixtures("_renamed")
@pytest.mark.parametrize("typed", ["evaluation.lengths=7", "tasks.layers=1", "-m", "--help", "name=task.layers"])
def test_all_else_is_left_as_it_is(typed, capsys):
    assert current(typed) == typed
    assert capsys.readouterr().err == ""
