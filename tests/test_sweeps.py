"""Every file under sweeps/ composes at every scale, says of itself what a reader needs, and runs."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from mulo.config import Config, parse
from mulo.config.sweeps import SCALES
from mulo.evaluation.results import RESULTS
from mulo.evaluation.tables import OLD_NAMES
from mulo.reporting.labels import THETA0
from mulo.run import bundled, register
from tests.command import mulo

ROOT = Path(__file__).parents[1] / "sweeps"
FOLDERS = ("figure", "ablation", "question")
NAMES = sorted(f"{path.parent.name}/{path.stem}" for folder in FOLDERS for path in (ROOT / folder).glob("*.yaml"))
CHECKS = {name.split("/")[1] for name in NAMES if "coordinate_check" in name} | {"stability", "preactivations"}
"""Those that check coordinates; all others evaluate."""


@pytest.fixture(autouse=True)
def _a_users_file(monkeypatch):
    monkeypatch.setenv("VELO_4000", str(Path(__file__).parent / "reference" / "velo_sp.npz"))


@pytest.fixture(autouse=True, scope="module")
def _composing() -> Iterator[None]:
    register()
    with initialize_config_dir(bundled("conf"), version_base="1.3"):
        yield


@cache
def _swept(name: str, scale: str) -> list[list[str]]:
    """All overrides of each key, as the sweeper reads them."""
    params = OmegaConf.load(ROOT / f"{name}.yaml").hydra.sweeper.params
    resolved = OmegaConf.create({"scale": scale, "optimizer": {"name": "the file's own"}, "params": params})
    texts = [f"{key}={value}" for key, value in OmegaConf.to_container(resolved, resolve=True)["params"].items()]
    return [_jobs(one) for one in OverridesParser.create().parse_overrides(texts)]


def _jobs(one: Override) -> list[str]:
    values = one.sweep_string_iterator() if one.is_sweep_override() else [one.get_value_element_as_str()]
    return [f"{one.get_key_element()}={value}" for value in values]


def _end(name: str, scale: str, which: int) -> tuple[str, ...]:
    """What the first (0) or the last job (-1) overrides, in the order of the file."""
    return tuple(values[which] for values in _swept(name, scale))


@cache
def _job(name: str, scale: str, overrides: tuple[str, ...]) -> Config:
    folder, stem = name.split("/")
    chosen = [f"+{folder}={stem}", f"scale={scale}"]
    return parse(OmegaConf.to_container(compose("config", [*chosen, *overrides]), resolve=True))


SMOKE = pytest.param("smoke", marks=pytest.mark.slow)  # composed there to be run, too


@pytest.mark.parametrize("scale", [SMOKE, *(scale for scale in SCALES if scale != "smoke")])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_and_the_last_job_compose(name, scale):
    for which in (0, -1) if scale == "cpu" else (0,):
        config = _job(name, scale, _end(name, scale, which))
        assert (config.sweep.name, config.scale) == (name, scale)
        assert config.logger.name == "none"


@pytest.mark.parametrize("name", NAMES)
def test_the_head_says_what_a_reader_needs(name):
    sweep = _job(name, "cpu", _end(name, "cpu", 0)).sweep
    assert all(len(text) > 10 for text in (sweep.question, sweep.paper, *sweep.cost.values()))
    assert set(sweep.cost) == {"cpu", "paper"}
    folder, stem = name.split("/")
    assert sweep.command.endswith(f"python -m mulo.run -m +{folder}={stem}")
    names = _methods(name) if sweep.claims else set()
    for claim in sweep.claims:
        assert {claim.better, claim.than} <= names
        assert {OLD_NAMES.get(key, key) for key in claim.at} <= {*RESULTS.columns, *_keys(name)}
        assert claim.text


def _methods(name: str) -> set[str]:
    """Names at scale=cpu: of each value of a key beside the first ones of all others, with baselines."""
    first, swept = _end(name, "cpu", 0), _swept(name, "cpu")
    jobs = [(*first[:i], value, *first[i + 1 :]) for i, values in enumerate(swept) for value in values]
    configs = [_job(name, "cpu", job) for job in jobs if _seed(job) == _seed(first)]
    beside = {config.method + THETA0 for config in configs if config.shows_theta0}
    return beside | {name for config in configs for name in (config.method, *(config.evaluation.baselines or ()))}


def _seed(overrides: tuple[str, ...]) -> list[str]:
    return [override for override in overrides if override.startswith("seed=")]


def _keys(name: str) -> list[str]:
    return [override.partition("=")[0] for override in _end(name, "cpu", 0)]


def test_methods_have_names_of_their_own():
    names = [OmegaConf.load(path).name for path in (ROOT / "method").glob("*.yaml")]
    assert len(set(names)) == len(names) > 10


def test_the_readme_lists_every_sweep_with_its_question_and_cost():
    text = (ROOT / "README.md").read_text("utf-8")
    for name in NAMES:
        sweep = OmegaConf.load(ROOT / f"{name}.yaml").sweep
        assert f"| [{name}]({name}.yaml) | {sweep.question.strip()} | {sweep.cost.cpu.strip()} |" in text.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_first_job_runs(name, tmp_path):
    folder, stem = name.split("/")
    chosen = (f"+{folder}={stem}", "scale=smoke", *_end(name, "smoke", 0))
    done = mulo(*chosen, cwd=tmp_path)
    assert done.code == 0, done.err[-2000:]
    found = {path.name for path in (tmp_path / f"runs/{name}-smoke").rglob("*.csv")} - {"tuning.csv"}
    assert found == {"coordinate_check.csv" if stem in CHECKS else "results.csv"}


@pytest.mark.slow
def test_velo_of_a_users_file_stands_beside_mulo(tmp_path):
    chosen = ("--config-dir", str(ROOT), "+figure=velo_4000", "+method=velo_4000", "scale=smoke")
    assert mulo(*chosen, cwd=tmp_path).code == 0
    assert list(tmp_path.glob("runs/figure/velo_4000-smoke/*VeLO-4000*/results.csv"))


def _said(path: Path) -> set[str]:
    """The keys that a file itself says, without those that only the launcher reads."""
    raw = OmegaConf.to_container(OmegaConf.load(path))
    return {key for key in _flat(raw) if key.split(".")[0] not in ("defaults", "hydra", "sweep")}


def _flat(settings: dict, prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_overrules_nothing_that_its_methods_and_conditions_say(name):
    """The launcher composes a job with the sweep's file last."""
    for values in _swept(name, "cpu"):
        for value in values:
            group, _, choice = value.removeprefix("+").partition("=")
            if group in ("method", "condition"):
                assert not _said(ROOT / group / f"{choice}.yaml") & _said(ROOT / f"{name}.yaml"), value
