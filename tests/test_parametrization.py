"""The table of SP and µP, number by number, and what layers draw from it."""

import jax
import numpy as np
import pytest
from flax import nnx

from mulo.errors import ConfigError
from mulo.models.layers import Dense, ParameterFactory
from mulo.parametrization import Parametrization, Role

# (mean, std, forward, update) at fan-in 16 and, for what follows width, at fan-in 64.
TABLE = {
    ("mup", "input", 16): (0, 1 / 4, 1, 1),
    ("mup", "input", 64): (0, 1 / 8, 1, 1),
    ("mup", "embedding", 64): (0, 1, 1, 1),
    ("mup", "hidden", 16): (0, 1 / 4, 1, 1 / 16),
    ("mup", "hidden", 64): (0, 1 / 8, 1, 1 / 64),
    ("mup", "output", 16): (0, 0, 1 / 16, 1),
    ("mup", "output", 64): (0, 0, 1 / 64, 1),
    ("mup", "bias", 64): (0, 0, 1, 1),
    ("mup", "norm", 64): (1, 0, 1, 1),
    ("sp", "input", 16): (0, 1 / 4, 1, 1),
    ("sp", "embedding", 64): (0, 1, 1, 1),
    ("sp", "hidden", 16): (0, 1 / 4, 1, 1),
    ("sp", "hidden", 64): (0, 1 / 8, 1, 1),
    ("sp", "output", 16): (0, 1 / 4, 1, 1),
    ("sp", "output", 64): (0, 1 / 8, 1, 1),
    ("sp", "bias", 64): (0, 0, 1, 1),
    ("sp", "norm", 64): (1, 0, 1, 1),
}
WIDE = 400
"""Fan-in and fan-out of measured layers: 160,000 draws give their std to 0.2%."""


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_table(row):
    name, role, fan_in = row
    assert tuple(map(float, Parametrization(name).rule(Role(role), fan_in))) == pytest.approx(TABLE[row])


def test_table_has_every_role():
    assert {(name, role) for name, role, _ in TABLE} == {(n, r.value) for n in ("sp", "mup") for r in Role}


@pytest.mark.parametrize(
    ("name", "role", "numbers"),
    [("mup_but_hidden", "hidden", (0, 1 / 8, 1, 1)), ("mup_but_output", "output", (0, 1 / 8, 1, 1))],
)
def test_an_ablation_has_one_row_of_sp_and_all_others_of_mup(name, role, numbers):
    parametrization = Parametrization(name)
    assert tuple(map(float, parametrization.rule(Role(role), 64))) == pytest.approx(numbers)
    for other in {row for parametrization, row, _ in TABLE if parametrization == "mup"} - {role}:
        assert tuple(map(float, parametrization.rule(Role(other), 64))) == pytest.approx(TABLE["mup", other, 64])
    assert parametrization.logit_scale(16) == 1 / 16


def test_without_mups_attention_logits_are_scaled_as_in_sp():
    parametrization = Parametrization("mup_but_attention")
    assert parametrization.logit_scale(16) == 1 / 4
    for role in Role:
        assert tuple(map(float, parametrization.rule(role, 64))) == pytest.approx(TABLE["mup", role.value, 64])


@pytest.mark.parametrize(("option", "role"), [("bias_init", "bias"), ("output_init", "output")])
def test_options_set_the_std_of_their_role_under_mup_alone(option, role):
    chosen = {name: Parametrization(name, **{option: "normal"}) for name in ("sp", "mup")}
    assert chosen["mup"].rule(Role(role), 64).init_std == 1
    for other in Role:
        assert chosen["sp"].rule(other, 64) == Parametrization("sp").rule(other, 64)
        if other != role:
            assert chosen["mup"].rule(other, 64) == Parametrization("mup").rule(other, 64)


def test_options_leave_the_multipliers_alone():
    parametrization = Parametrization("mup", bias_init="normal", output_init="normal")
    for role in Role:
        assert parametrization.rule(role, 64)[2:] == Parametrization("mup").rule(role, 64)[2:]


@pytest.mark.parametrize("name", ["mu", "muP", "", "SP"])
def test_unknown_parametrization_never_means_sp(name):
    with pytest.raises(ConfigError, match=rf"parametrization={name} is invalid; expected .* sp, mup"):
        Parametrization(name)


@pytest.fixture(scope="module")
def dense():
    def make(role, parametrization, **options):
        return Dense(ParameterFactory(parametrization, nnx.Rngs(jax.random.key(3)), **options), WIDE, WIDE, role)

    return make


def statistics(array):
    return float(np.mean(array)), float(np.std(array))


@pytest.mark.parametrize(
    ("name", "role", "std"),
    [
        ("sp", Role.INPUT, 1 / 20),
        ("sp", Role.HIDDEN, 1 / 20),
        ("sp", Role.OUTPUT, 1 / 20),
        ("mup", Role.INPUT, 1 / 20),
        ("mup", Role.HIDDEN, 1 / 20),
        ("mup", Role.OUTPUT, 0),
    ],
)
def test_measured_std_of_drawn_matrices(name, role, std, dense):
    layer = dense(role, Parametrization(name))
    mean, measured = statistics(layer.kernel[...])
    assert measured == pytest.approx(std, rel=0.01)
    assert abs(mean) <= 0.01 * std
    assert not np.any(layer.bias[...])


def test_measured_std_with_options(dense):
    layer = dense(Role.OUTPUT, Parametrization("mup", bias_init="normal", output_init="normal"))
    assert statistics(layer.kernel[...]) == pytest.approx((0, 1), abs=0.01)
    assert statistics(layer.bias[...]) == pytest.approx((0, 1), abs=0.15)


def test_truncated_normal_is_cut_at_two_std_and_not_corrected(dense):
    kernel = dense(Role.HIDDEN, Parametrization("mup"), distribution="truncated_normal").kernel[...]
    assert np.max(np.abs(kernel)) <= 2 / 20
    assert np.std(kernel) == pytest.approx(0.8796 / 20, rel=0.01)
    assert np.max(np.abs(dense(Role.HIDDEN, Parametrization("mup")).kernel[...])) > 4 / 20
