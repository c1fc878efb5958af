"""Every YAML file composes, fits its schema and builds; the paper's recipe holds the paper's numbers."""

import itertools
import re
from dataclasses import fields
from pathlib import Path

import jax
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mulo.config import Config, parse, to_dict
from mulo.errors import ConfigError
from mulo.run import bundled, register_resolvers

CONF = Path(bundled("conf"))
GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("optimizer", "task", "data", "recipe", "logger")
}
BASELINES = ("adamw", "mu_adam", "nadamw_mup", "muon_mup", "schedule_free_mup")
LEARNED = [name for name in GROUPS["optimizer"] if name not in BASELINES]


def composed(*overrides: str) -> Config:
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        raw = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    return parse(raw)


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, names in GROUPS.items() for name in names])
def test_every_choice_composes_and_parses(group, name):
    mode = "coordinate_check" if name in ("adamw", "mu_adam") else "main"
    config = composed(f"{group}={name}", f"mode={mode}")
    assert getattr(config, group).name == name


@pytest.mark.parametrize("name", GROUPS["optimizer"])
def test_every_optimizer_builds_and_names_its_parametrization(name):
    config = composed(f"optimizer={name}", "mode=coordinate_check").optimizer
    config.init(jax.random.key(0))
    assert config.parametrization == ("mup" if name.endswith("mup") or name == "mu_adam" else "sp")


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


FROM_OTHER_FILES = {"adamw", "mu_adam", "text"}
"""Settings that a file takes from other groups."""


@pytest.mark.parametrize("group", [*GROUPS, "evaluation"])
def test_the_files_spell_out_every_setting(group):
    """What a reader of conf/ does not see, they cannot know of."""
    for path in (CONF / group).glob("*.yaml"):
        written = set(OmegaConf.load(path)) - {"defaults"}
        settings = getattr(composed(f"{group}={path.stem}", "mode=parameters"), group)
        expected = {spec.name for spec in fields(settings)} - FROM_OTHER_FILES
        assert written == expected, path


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
    found = {name: composed(f"optimizer={name}").optimizer.step_mult for name in LEARNED}
    assert found == {"small_fc_mup": 0.01, "small_fc_sp": 0.001, "velo_mup": 0.001, "velo_sp": 0.001} | dict.fromkeys(
        ("celo2_mup", "celo2_sp"), 0.001
    )


def test_a_parsed_configuration_survives_its_own_dictionary():
    config = composed("optimizer=small_fc_sp", "task=mlp", "data=synthetic")
    assert parse(to_dict(config)) == config


def test_list_ranges_hold_for_every_entry():
    with pytest.raises(ConfigError, match=r"task\.widths"):
        composed("task.widths=[16,0]")


COMMENTS = dict(re.findall(r"^  - (\w+): \w+ +# (.*)$", (CONF / "config.yaml").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("group", ["optimizer", "data", "task", "recipe", "tuning", "scale", "logger"])
def test_the_configuration_names_every_choice_of_each_group(group):
    choices = {path.stem for path in (CONF / group).glob("*.yaml")}
    assert choices <= set(re.findall(r"\w+", COMMENTS[group]))


def test_a_setting_of_other_modes_is_refused_with_each_mode_named_once():
    with pytest.raises(ConfigError, match=r"checkpoint=x is .* only in mode=evaluate or mode=coordinate_check\. The"):
        parse({"checkpoint": "x"})


PATHS = {
    "run_dir": "main",
    "checkpoint": "evaluate",
    "reference": "verify",
    "evaluation.sp_twin": "main",
    "plan.output": "plan",
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
    return {"mode": PATHS.get(key, "main"), "task": {"name": "transformer"}} | raw


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
    with pytest.raises(ConfigError, match=rf"^{key}={empty} is not possible: .* Leave {key} away"):
        parse(with_value(key, empty))


def test_null_is_no_empty_text():
    assert parse({"run_dir": None, "name": None}).run_dir is None
