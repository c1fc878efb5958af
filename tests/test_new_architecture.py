"""An architecture that only this test knows: meta-trained on, evaluated, and named in tables by its traits."""

import csv
from dataclasses import dataclass

import pytest
from flax import nnx

from mulo.config import parse, registry
from mulo.config.settings import setting
from mulo.config.tasks import TaskBase
from mulo.errors import ConfigError
from mulo.models.layers import Dense, layer
from mulo.parametrization import Role
from mulo.reporting.labels import label_of_family
from tests.tiny_jobs import planned, reported, run, settings


class Linear(nnx.Module):
    """As many matrices as the depth says and one more, one after the other, and nothing between them."""

    def __init__(self, config, size, input_shape, classes, make):
        self.input = Dense(make, config.features, size.width, Role.INPUT)
        self.hidden = nnx.List([Dense(make, size.width, size.width, Role.HIDDEN) for _ in range(size.depth)])
        self.output = Dense(make, size.width, classes, Role.OUTPUT)

    def layers(self, inputs):
        names = ["input", *(f"hidden_{i}" for i in range(len(self.hidden))), "output"]
        for name, module in zip(names, [self.input, *self.hidden, self.output], strict=True):
            computed = layer(name, module, inputs)
            yield computed
            inputs = computed.preactivation


@dataclass(frozen=True)
class LinearConfig(TaskBase):
    label = "Deep linear network"
    network = f"{__name__}:Linear"
    reads = ("features",)
    residual = False

    name: str = "linear"
    architecture: str = setting("linear", choices=("linear",))
    features: int = setting(3, low=1)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(registry._SCHEMAS["task"], "linear", LinearConfig)


def raw(folder, **task):
    return settings(folder, task={"architecture": "linear", "batch_size": 4, **task})


def test_it_is_meta_trained_on_evaluated_and_reported(tmp_path):
    job = run(raw(tmp_path, widths=[2, 3], depths=[1, 2]))
    rows = list(csv.DictReader((job / "evaluation/results.csv").open(encoding="utf-8")))
    assert {(row["task"], row["width"], row["depth"]) for row in rows} == {("linear", "5", "1"), ("linear", "5", "2")}
    assert all(float(row["loss"]) < 100 for row in rows)
    header = (job / "metrics.jsonl").read_text("utf-8").splitlines()[1]
    assert all(f"meta_loss/linear_w{width}_d{depth}" in header for width in (2, 3) for depth in (1, 2))
    record, readme = reported(job, tmp_path)
    assert record["jobs"][0]["trained_widths"] == {"linear": [2, 3]}
    assert "Deep linear network" in readme


def test_it_is_planned(tmp_path):
    networks = planned(raw(tmp_path, widths=[2, 3]), tmp_path)["optimizees"]
    # By hand, depth 3: 3·w inputs, three w·w, 10·w outputs, four biases of w and one of 10.
    assert [network["parameters"] for network in networks] == [13 * w + 3 * w**2 + 4 * w + 10 for w in (2, 3)]


def test_what_it_lacks_is_refused_and_what_it_is_called_is_printed(tmp_path):
    with pytest.raises(ConfigError, match="no attention"):
        parse(raw(tmp_path, parametrization="mup_but_attention"))
    assert label_of_family("linear") == "Deep linear network"
    assert label_of_family("cnn") == "cnn"
