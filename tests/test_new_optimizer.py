"""Optimizers that only this test knows: meta-trained or tuned, evaluated, planned and reported like any other."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import optax
import pytest

from mulo import checkpoint
from mulo.config import parse, registry
from mulo.config.settings import setting
from mulo.cost import Cost
from mulo.errors import ConfigError
from mulo.evaluation.results import RESULTS
from mulo.optimizers.base import Baseline, Look, Optimizer, entries
from mulo.reporting.labels import label
from tests.tiny_jobs import planned, reported, run, settings


@dataclass(frozen=True)
class LearnedRate(Optimizer):
    """Gradient descent whose rate is meta-trained."""

    looks: ClassVar = {"learned_rate": Look("µRate", "#123456", "o", "mup")}
    name: str = "learned_rate"
    architecture: str = setting("learned_rate", choices=("learned_rate",))
    start: float = setting(0.1, above=0)

    def init(self, key):
        return {"log_rate": jnp.log(jnp.float32(self.start))}

    def rule(self, theta, num_steps, multipliers):
        return optax.scale(-jnp.exp(theta["log_rate"]))

    def moments(self):
        return {}

    def cost(self, shapes):
        return Cost(2, 12).times(entries(shapes))


@dataclass(frozen=True)
class Momentum(Baseline):
    """Gradient descent with momentum."""

    looks: ClassVar = {"momentum": Look("Momentum", "#654321", "s", "mup")}
    tunable: ClassVar = ("learning_rate", "momentum")
    name: str = "momentum"
    architecture: str = setting("momentum", choices=("momentum",))
    momentum: float = setting(0.5, low=0, below=1)

    def rule(self, theta, num_steps, multipliers):
        return optax.chain(optax.trace(theta["momentum"]), optax.scale(-theta["learning_rate"]))


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    for optimizer in (LearnedRate, Momentum):
        monkeypatch.setitem(registry._SCHEMAS["optimizer"], optimizer().architecture, optimizer)


BESIDE = {"widths": [5], "num_steps": 2, "seeds": 1, "baselines": {"beside": {"architecture": "momentum"}}}
TUNING = {"num_steps": 2, "grid": {"learning_rate": [0.1, 1e30], "momentum": [0.2, 0.9]}}


def raw(folder, optimizer, **more):
    return settings(folder, optimizer={"architecture": optimizer}, evaluation=BESIDE, **{"tuning": TUNING, **more})


@pytest.mark.parametrize("optimizer", ["learned_rate", "momentum"])
def test_its_main_job_is_reported(optimizer, tmp_path):
    job = run(raw(tmp_path, optimizer))
    assert set(RESULTS.read(job / "evaluation/results.csv").method) == {optimizer, "beside"}
    assert (job / "evaluation/loss_over_width.png").exists()
    record, readme = reported(job, tmp_path)
    kind = "meta-training" if optimizer == "learned_rate" else "tuning"
    assert [entry["preparation"]["kind"] for entry in record["jobs"]] == [kind]
    assert label(optimizer) in readme


def test_its_checkpoint_is_loaded(tmp_path):
    loaded = checkpoint.load(run(raw(tmp_path, "learned_rate", mode="meta_train")))
    assert loaded.optimizer == LearnedRate()
    params = {"w": jnp.ones(3)}
    transform = loaded.transform(10, {"w": 0.5})
    updates, _ = transform.update({"w": jnp.ones(3)}, transform.init(params), params)
    assert updates["w"] == pytest.approx(-0.5 * float(jnp.exp(loaded.theta["log_rate"])))


@pytest.mark.parametrize("optimizer", ["learned_rate", "momentum"])
def test_it_is_planned(optimizer, tmp_path):
    plan = planned(raw(tmp_path, optimizer), tmp_path)
    names = [phase["name"] for phase in plan["phases"]]
    assert ("meta-training" in names, "tuning" in names) == (optimizer == "learned_rate", optimizer == "momentum")
    assert plan["theta_parameters"] == (1 if optimizer == "learned_rate" else 2)


def test_what_its_theta_lacks_cannot_be_tuned(tmp_path):
    with pytest.raises(ConfigError, match=r"tuning\.grid.*learning_rate, momentum"):
        parse(raw(tmp_path, "momentum", tuning={"grid": {"b1": [0.9]}}))
    with pytest.raises(ConfigError, match=r"tuning\.grid\.momentum"):
        parse(raw(tmp_path, "momentum", tuning={"grid": {"momentum": [1.5]}}))
