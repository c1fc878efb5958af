"""The coordinate check passes µP on every architecture, and catches each multiplier that is deliberately wrong."""

from dataclasses import replace

import pytest

import mulo
from mulo.config import EmbeddedDataConfig, MLPConfig, ResNetConfig, StdlibTextDataConfig, TransformerConfig, ViTConfig
from mulo.data import load
from mulo.evaluation import coordinate_check as check
from mulo.evaluation.coordinate_rows import verdicts
from mulo.optimizers import AdamW, Celo2
from mulo.parametrization import Parametrization, Role
from mulo.randomness import root
from mulo.tasks import make_tasks
from tests.distorted import Distorted

pytestmark = pytest.mark.slow

TEXT, IMAGES = StdlibTextDataConfig(), EmbeddedDataConfig()
ATTENTION = {"depth": 1, "heads": 1, "query_init": "zeros"}
NETWORKS = {
    "mlp": (MLPConfig(depth=2), IMAGES),
    "transformer": (TransformerConfig(batch_size=8, **ATTENTION), TEXT),
    "vit": (ViTConfig(batch_size=16, **ATTENTION), IMAGES),
    "resnet": (ResNetConfig(depth=1, batch_size=8), IMAGES),
}
X, WX = check.MEASURES
ADAM = AdamW(name="mu_adam", learning_rate=0.005, eps=1e-16)
CELO2 = "experiments/theta/celo2_mup"


def failures(family, config=ADAM, theta=None, power=0.0, widths=(64, 256), times=(2, 10)):
    """Slopes outside µP's range by measure and layer, at any time."""
    task, data = NETWORKS[family]
    dataset, optimizer = load(data), config
    tasks = make_tasks(task, "mup", dataset, list(widths))
    inputs, _ = dataset.fixed(dataset.arrays, "test", 16)
    rows = check.coordinate_check(
        [Distorted(task, power) for task in tasks] if power else tasks,
        optimizer,
        optimizer.init(root(0)) if theta is None else theta,
        inputs,
        times=times,
        seeds=2,
        key=root(0),
        names=(config.name, "mup"),
    )
    return {(v.measure, v.layer): v.slope for v in verdicts(rows, 0.15).itertuples() if v.failed}


@pytest.mark.parametrize("family", NETWORKS)
def test_mup_passes(family):
    assert failures(family, widths=(64, 256, 1024) if family == "transformer" else (64, 256)) == {}


@pytest.mark.parametrize("power", [0.5, -0.5])
@pytest.mark.parametrize("family", NETWORKS)
def test_hidden_matrices_off_by_the_root_of_the_width(family, power):
    slopes = failures(family, power=power)
    hidden = [slope for (measure, layer), slope in slopes.items() if measure == WX and layer not in ("input", "output")]
    assert hidden
    assert any(slope * power > 0 for slope in hidden)


def test_attention_logits_over_the_root_of_the_head_size(monkeypatch):
    monkeypatch.setattr(Parametrization, "logit_scale", lambda self, size: size**-0.5)
    for family in ("transformer", "vit"):
        assert failures(family)[X, "block_1/logits"] > 0.2


def test_a_readout_without_its_forward_multiplier(monkeypatch):
    right = Parametrization.rule

    def wrong(self, role, fan_in, kernel_area=1):
        found = right(self, role, fan_in, kernel_area)
        return found._replace(forward=1.0) if role is Role.OUTPUT else found

    monkeypatch.setattr(Parametrization, "rule", wrong)
    for family in NETWORKS:
        assert failures(family)[WX, "output"] > 0.5


def test_an_orthogonalised_update_under_the_multiplier_of_elementwise_ones(monkeypatch):
    stored = mulo.load(CELO2)
    config = replace(stored.optimizer, orthogonalize=True)
    right = failures("mlp", config, stored.theta)
    monkeypatch.setattr(Celo2, "power", lambda self, multiplier, rank: 1.0)
    wrong = failures("mlp", config, stored.theta)
    assert (WX, "hidden_1") not in right
    assert wrong[WX, "hidden_1"] < -0.3
