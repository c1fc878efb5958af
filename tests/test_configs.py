"""Every YAML file composes, fits its schema and builds; the paper's recipe holds the paper's numbers."""

import functools
import itertools
import re
from pathlib import Path

import jax
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from docs.describe_settings import page as page_of_settings
from mulo.config import (
    Config,
    EvaluationConfig,
    LoggerConfig,
    RecipeConfig,
    TuningConfig,
    parse,
    registry,
    to_dict,
)
from mulo.errors import ConfigError
from mulo.run import bundled, register
from tests.command import mulo as mulo_command

CONF = Path(bundled("conf"))
GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("optimizer", "task", "data", "recipe", "logger")
}
BASELINES = ("adamw", "mu_adam", "nadamw_mup", "muon_mup", "schedule_free_mup")
LEARNED = [name for name in GROUPS["optimizer"] if name not in BASELINES]


def composed_raw(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(bundled("conf"), version_base="1.3"):
        raw = compose("config", list(overrides))
    OmegaConf.set_struct(raw, False)
    return raw


def composed(*overrides: str) -> Config:
    return parse(OmegaConf.to_container(composed_raw(*overrides), resolve=True))


@functools.cache
def chosen(group: str, name: str) -> DictConfig:
    """What Hydra composes where one file of a group is chosen; what several tests look at is composed once."""
    return composed_raw(f"{group}={name}")


def chosen_in(mode: str, group: str, name: str) -> Config:
    return parse(OmegaConf.to_container(chosen(group, name), resolve=True) | {"mode": mode})


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, names in GROUPS.items() for name in names])
def test_every_choice_composes_and_parses(group, name):
    mode = "coordinate_check" if name in ("adamw", "mu_adam") else "main"
    config = chosen_in(mode, group, name)
    assert getattr(config, group).name == name


@pytest.mark.parametrize("name", GROUPS["optimizer"])
def test_every_optimizer_builds_and_names_its_parametrization(name):
    config = chosen_in("coordinate_check", "optimizer", name).optimizer
    jax.eval_shape(config.init, jax.random.key(0))
    in_sp = name.endswith("_sp") or name in ("adamw", "lo", "velo", "celo2")
    assert config.parametrization == ("sp" if in_sp else "mup")


COMBINATIONS = sorted(
    {
        *itertools.product(LEARNED, ["mlp_multiwidth"], ["quick"]),
        *itertools.product(["velo_mup"], GROUPS["task"], ["cpu"]),
    }
    | {*itertools.product(["small_fc_mup"], ["mlp", "mixed"], GROUPS["recipe"])}
)


@pytest.mark.parametrize(("optimizer", "task", "recipe"), COMBINATIONS)
def test_combinations_compose(optimizer, task, recipe):
    config = composed(f"optimizer={optimizer}", f"task={task}", f"recipe={recipe}")
    assert config.parametrization == config.optimizer.parametrization
    several = task.endswith("_multiwidth") or task == "mixed"
    expected = config.recipe.scale.widths if several else [config.recipe.scale.width]
    assert all(part.all_widths == expected for part in config.task.parts)


SCHEMAS = {schema.__name__: schema for group in registry.GROUPS for schema in registry.Schemas(group).values()}
SCHEMAS |= {schema.__name__: schema for schema in (Config, EvaluationConfig, LoggerConfig, RecipeConfig, TuningConfig)}


def parts(path):
    """What a file begins with, a dataclass's defaults or another file of its group, and what it says itself."""
    differences = OmegaConf.load(path)
    first = next(entry for entry in differences.pop("defaults") if isinstance(entry, str))
    if first.startswith("/"):
        return OmegaConf.create(to_dict(SCHEMAS[first.removeprefix("/")]())), differences
    return OmegaConf.merge(*parts(path.with_stem(first))), differences


FILES = [path for group in [*GROUPS, "evaluation", "tuning"] for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_its_dataclass_with_the_differences_that_it_says(path):
    """Python's defaults are the command line's: what Hydra composes is what the dataclass and the file say together."""
    group = path.parent.name
    raw = chosen(group, path.stem).copy()
    raw["expected"] = OmegaConf.merge(*parts(path))
    resolved = OmegaConf.to_container(raw, resolve=True)
    baselines = {key: value for key, value in resolved[group].items() if key == "baselines"}
    assert resolved[group] == resolved["expected"] | baselines


def repeated(differences, before):
    for key, value in differences.items():
        if isinstance(value, dict):
            yield from repeated(value, before[key])
        elif value == before.get(key):
            yield key


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_says_nothing_that_it_begins_with(path):
    before, differences = map(OmegaConf.to_container, parts(path))
    assert list(repeated(differences, before)) == []


def test_what_python_makes_of_nothing_is_what_the_command_line_makes():
    """But for what the main job is: optimizer, recipe, the sizes that follow from it, and what stands beside θ."""
    python, line = (to_dict(config) for config in (parse({}), composed()))
    for settings in (python, line):
        del settings["optimizer"], settings["recipe"], settings["task"]["widths"], settings["tuning"]["grid"]
        del settings["evaluation"]["baselines"], settings["evaluation"]["theta0"]
    assert python == line


def keys(settings, prefix=""):
    for key, value in settings.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


@pytest.fixture(scope="module")
def help_text(tmp_path_factory):
    return mulo_command("--help", "task=mixed", cwd=tmp_path_factory.mktemp("help")).out


def test_help_lists_every_setting(help_text):
    listed = yaml.safe_load(help_text.partition("(foo.bar=value)")[2].partition("Powered by")[0])
    assert set(keys(listed)) == set(keys(to_dict(composed("task=mixed"))))


def test_the_task_follows_the_optimizer_unless_told_otherwise():
    assert composed("optimizer=velo_mup").parametrization == "mup"
    assert composed("optimizer=velo_sp").parametrization == "sp"
    assert composed("optimizer=velo_mup", "task.parametrization=sp").parametrization == "sp"


@pytest.mark.parametrize(
    ("optimizer", "numbers"), [("small_fc_mup", (5000, 50, 4900)), ("velo_mup", (45000, 20, 44900))]
)
def test_the_papers_recipe(optimizer, numbers):
    config = composed("recipe=paper", f"optimizer={optimizer}")
    recipe, outer = config.recipe, config.recipe.outer
    assert (recipe.outer_steps, recipe.truncation, outer.decay_steps) == numbers
    assert (recipe.sigma, recipe.pairs, recipe.min_length, recipe.max_length) == (0.01, 8, 100, 1000)
    assert (recipe.estimator, recipe.start_offset, outer.weight_decay, outer.warmup_steps) == ("pes", 50, 1e-4, 100)
    assert (outer.warmup_start, outer.learning_rate, outer.final_learning_rate) == (3e-10, 3e-3, 1e-3)
    assert (config.task.widths, config.task.batch_size, config.task.depth) == ([128, 512, 1024], 4096, 3)


def test_step_multipliers_are_those_of_the_sources():
    published = [name for name in LEARNED if name.endswith(("_mup", "_sp"))]
    found = {name: composed(f"optimizer={name}").optimizer.step_mult for name in published}
    assert found == {"small_fc_mup": 0.01, "small_fc_sp": 0.001, "velo_mup": 0.001, "velo_sp": 0.001} | dict.fromkeys(
        ("celo2_mup", "celo2_sp"), 0.001
    )


def test_a_parsed_configuration_survives_its_own_dictionary():
    config = composed("optimizer=small_fc_sp", "task=mlp", "data=synthetic")
    assert parse(to_dict(config)) == config


def test_list_ranges_hold_for_every_entry():
    with pytest.raises(ConfigError, match=r"task\.widths"):
        composed("task.widths=[16,0]")


@pytest.mark.parametrize("group", ["optimizer", "data", "task", "recipe", "tuning", "scale", "logger"])
def test_help_lists_every_choice_of_each_group(group, help_text):
    listed = re.search(rf"^{group}: (.*)$", help_text, re.MULTILINE)[1].split(", ")
    assert {path.stem for path in (CONF / group).glob("*.yaml")} <= set(listed)


def test_a_setting_of_other_modes_is_refused_with_each_mode_named_once():
    with pytest.raises(
        ConfigError,
        match=r"checkpoint=x is invalid; expected null unless mode=evaluate or mode=export or mode=coordinate_check\. ",
    ):
        parse({"checkpoint": "x"})


PATHS = {
    "run_dir": "main",
    "checkpoint": "evaluate",
    "reference": "verify",
    "evaluation.sp_twin": "main",
    "plan.output": "plan",
    "export.output": "export",
    "report.of": "report",
    "report.into": "main",
    "data.path": "main",
    "data.tokenizer_path": "main",
    "evaluation.data.path": "main",
}


def with_value(key, value):
    """The raw configuration of a job with one setting."""
    raw = value
    for name in reversed(key.split(".")):
        raw = {name: raw} | ({"name": "lm1b"} if name in ("path", "tokenizer_path") else {})
    needed = {"checkpoint": "run"} if key.startswith("export.") else {}
    return {"mode": PATHS.get(key, "main"), "task": {"name": "transformer"}} | needed | raw


def value_in(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize("key", PATHS)
def test_a_path_may_begin_at_the_home_directory(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert value_in(parse(with_value(key, "~/place")), key) == "/home/somebody/place"
    assert value_in(parse(with_value(key, "place/~")), key) == "place/~"


@pytest.mark.parametrize("key", [*PATHS, "name", "report.name", "logger.project"])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_text_is_refused(key, empty):
    with pytest.raises(ConfigError, match=rf"^{key}={empty} is invalid; expected .* Leave {key} away"):
        parse(with_value(key, empty))


def test_null_is_no_empty_text():
    assert parse({"run_dir": None, "name": None}).run_dir is None


def test_the_page_of_settings_is_that_of_the_code():
    page = (CONF.parent / "docs/settings.md").read_text("utf-8")
    assert page == page_of_settings(), "write it anew: python -m docs.describe_settings > docs/settings.md"
    assert "| `recipe.sigma` | `0.03` | a finite number > 0 | Standard deviation of the perturbation of θ. |" in page
