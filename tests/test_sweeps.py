"""Every file under sweeps/ composes at every scale, says of itself what a reader needs, and runs."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from mulo.config import Config, parse
from mulo.config.sweeps import SCALES
from mulo.run import _conf_dir, register_resolvers

ROOT = Path(__file__).parents[1] / "sweeps"
LIST = {
    "figure": "coordinate_check depth horizon width",
    "ablation": "estimators sp_step_mult",
    "question": "",
}
"""All there are, by folder."""
NAMES = [f"{folder}/{name}" for folder, names in LIST.items() for name in names.split()]
USERS = {"figure/velo_4000": "reference=tests/reference/velo_sp.npz"}
"""What a user has to give."""


@pytest.fixture(autouse=True, scope="module")
def _composing() -> Iterator[None]:
    register_resolvers()
    with initialize_config_dir(str(_conf_dir()), version_base="1.3"):
        yield


def _composed(name: str, *overrides: str) -> DictConfig:
    folder, stem = name.split("/")
    chosen = [f"hydra.searchpath=[file://{ROOT}]", f"+{folder}={stem}"]
    return compose("config", [*chosen, *overrides], return_hydra_config=True)


@cache
def _ends(name: str, scale: str) -> tuple[list[str], list[str]]:
    """What the first and the last job override, each in the order of the file."""
    params = _composed(name, f"scale={scale}").hydra.sweeper.params
    texts = [f"{key}={value}" for key, value in OmegaConf.to_container(params, resolve=True).items()]
    swept = [_jobs(one) for one in OverridesParser.create().parse_overrides(texts)]
    return [own[0] for own in swept], [own[-1] for own in swept]


def _jobs(one: Override) -> list[str]:
    values = one.sweep_string_iterator() if one.is_sweep_override() else [one.get_value_element_as_str()]
    return [f"{one.get_key_element()}={value}" for value in values]


def _job(name: str, scale: str, overrides: list[str]) -> Config:
    raw = OmegaConf.to_container(_without_hydra(_composed(name, f"scale={scale}", *overrides)), resolve=True)
    return parse(raw)


def _without_hydra(composed: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])


def test_the_list_is_complete():
    found = {str(path.relative_to(ROOT).with_suffix("")) for folder in LIST for path in (ROOT / folder).glob("*.yaml")}
    assert found == set(NAMES)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_the_first_and_the_last_job_compose(name, scale):
    for overrides in _ends(name, scale):
        config = _job(name, scale, overrides)
        assert (config.sweep.name, config.scale) == (name, scale)
        assert config.logger.name == "none"
