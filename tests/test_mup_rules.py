"""µP of the networks against the published rules of Yang et al. 2022 (arXiv 2203.03466), table 8, the column of Adam.

The numbers below are the table's, for a network four times as wide as another: width_mult = 4. microsoft/mup has them
as MuReadout (output × 1/width_mult), MuAdam (rate of matrices with two growing dimensions / width_mult) and, in its
README, attention logits × 1/d instead of 1/√d.
"""

import pytest

from mulo.config import MLPConfig, ResNetConfig, TransformerConfig
from mulo.parametrization import Parametrization
from mulo.tasks import make_tasks

NARROW, WIDE = 32, 128
# role: (variance of the init, forward multiplier, learning rate of Adam), each wide over narrow.
TABLE_8 = {
    "input": (1, 1, 1),
    "embedding": (1, 1, 1),
    "bias": (None, 1, 1),  # starts at 0
    "norm": (None, 1, 1),  # starts at 1
    "hidden": (1 / 4, 1, 1 / 4),
    "output": (1, 1 / 4, 1),
}


class Text:
    name, kind, input_shape, classes = "text", "tokens", (8,), 50


class Images:
    name, kind, input_shape, classes = "images", "images", (8, 8, 3), 10


NETWORKS = {
    "transformer": (TransformerConfig(depth=2, heads=4, output_init="normal"), Text()),
    "mlp": (MLPConfig(output_init="normal"), Images()),
    "resnet": (ResNetConfig(output_init="normal"), Images()),
}


def pair(family, parametrization):
    config, dataset = NETWORKS[family]
    return make_tasks(config, parametrization, dataset, [NARROW, WIDE])


@pytest.mark.parametrize("family", NETWORKS)
def test_ratios_of_init_forward_and_learning_rate(family):
    narrow, wide = pair(family, "mup")
    for path, small in narrow.parameters.items():
        large = wide.parameters[path]
        variance, forward, rate = TABLE_8[small.role.value]
        assert large.rule.forward / small.rule.forward == pytest.approx(forward), path
        assert float(large.rule.update) / float(small.rule.update) == pytest.approx(rate), path
        if variance is None:
            assert small.init_std == large.init_std == 0, path
        else:
            assert (large.init_std / small.init_std) ** 2 == pytest.approx(variance), path


@pytest.mark.parametrize("family", NETWORKS)
def test_roles_are_those_of_mups_growing_dimensions(family):
    """Two growing dimensions: hidden; only the last: input, embedding or vector; only the one before it: output."""
    narrow, wide = pair(family, "mup")
    for path, small in narrow.parameters.items():
        grows = tuple(a != b for a, b in zip(small.shape, wide.parameters[path].shape, strict=True))[-2:]
        allowed = {
            (True, True): ("hidden",),
            (False, True): ("input", "embedding"),
            (True, False): ("output",),
            (True,): ("bias", "norm"),
            (False,): ("bias",),
        }
        assert small.role.value in allowed[grows], path


def test_attention_logits_are_over_d_not_over_its_root():
    mup, sp = Parametrization("mup"), Parametrization("sp")
    assert mup.logit_scale(64) / mup.logit_scale(16) == pytest.approx(1 / 4)
    assert sp.logit_scale(64) / sp.logit_scale(16) == pytest.approx(1 / 2)


def test_sp_scales_inits_alone():
    narrow, wide = pair("transformer", "sp")
    for path, small in narrow.parameters.items():
        large = wide.parameters[path]
        assert {float(x) for own in (small, large) for x in (own.rule.forward, own.rule.update)} == {1.0}
        if small.role.value in ("hidden", "output"):
            assert (large.init_std / small.init_std) ** 2 == pytest.approx(1 / 4), path
