"""Options that all learned optimizers share: step sizes by role, features of time, horizon, weight decay; Celo2's."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo import checkpoint
from mulo.checkpoint import CheckpointWriter
from mulo.config import parse
from mulo.errors import ConfigError
from mulo.optimizers import Celo2, SmallFC, VeLO, step_sizes
from mulo.types import Multiplier
from tests.optimizers.learned_steps import (
    LENGTH,
    MUP,
    PARAMS,
    PLAIN,
    SHAPES,
    SMALL_FC,
    SP,
    STEPS,
    VELO,
    distance,
    normal,
    theta_of,
    updates,
)

GRADIENTS = normal(2, 0.1, STEPS)
CELO2 = Celo2()
CONFIGS = (SMALL_FC, VELO, CELO2)
ALL = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
BOTH = pytest.mark.parametrize("multipliers", [MUP, pytest.param(SP, marks=pytest.mark.slow)], ids=["mup", "sp"])


def close(found, expected, rtol=1e-5):
    for key, wanted in expected.items():
        np.testing.assert_allclose(found[key], wanted, rtol=0, atol=rtol * np.max(np.abs(wanted)), err_msg=key)


@ALL
def test_step_sizes_of_zero_change_nothing(config):
    theta = theta_of(config)
    sized = theta | {"step_sizes": step_sizes.initial()}
    close(updates(replace(config, step_sizes=True), sized, GRADIENTS), updates(config, theta, GRADIENTS), 1e-6)


def weights(role, *curve):
    """Step sizes of θ that differ from 1 in one role only."""
    return step_sizes.initial().at[step_sizes.ROLES.index(role)].set(jnp.array(curve))


@pytest.mark.parametrize(("multipliers", "role"), [(MUP, "input"), (SP, "bias"), (PLAIN, "hidden"), (PLAIN, "bias")])
@ALL
def test_the_curve_of_a_role_multiplies_its_updates_and_no_others(config, multipliers, role):
    """exp(5·(a + b·x + c·(3x² − 1)/2)), x from −1 to 1 over the training; of plain numbers the rank tells the role."""
    config = replace(config, step_sizes=True)
    theta = theta_of(config)
    a, b, c = 0.1, -0.2, 0.15
    moved = theta | {"step_sizes": weights(role, a, b, c)}
    plain, found = (updates(config, x, GRADIENTS, multipliers, at=4) for x in (theta, moved))
    by_rank = {key: "hidden" if len(shape) >= 2 else "bias" for key, shape in SHAPES.items()}
    roles = {key: c.role if isinstance(c, Multiplier) else by_rank[key] for key, c in multipliers.items()}
    assert 0 < sum(role == other for other in roles.values()) < len(roles)
    for key, wanted in plain.items():
        for t in range(STEPS):
            x = 2 * (4 + t) / LENGTH - 1
            size = np.exp(5 * (a + b * x + c * (1.5 * x**2 - 0.5))) if roles[key] == role else 1.0
            np.testing.assert_allclose(found[key][t], size * wanted[t], rtol=1e-4)


def test_a_role_that_has_no_row_is_told_by_the_rank():
    """`mulo.parametrize` knows one more: `fixed`."""
    rows = [step_sizes.role_of(Multiplier(1.0, role="fixed"), rank) for rank in (1, 2)]
    assert [step_sizes.ROLES[row] for row in rows] == ["bias", "hidden"]


@pytest.mark.parametrize("config", [SMALL_FC, CELO2], ids=lambda config: config.architecture)
def test_relative_features_of_time_see_the_share_of_the_training_that_is_done(config):
    """Twice as long a training is at the same point after twice as many steps; published features see no end."""
    relative = replace(config, time_features="relative")
    theta = theta_of(relative)
    first = {key: g[:1] for key, g in GRADIENTS.items()}
    expected, same, later, longer = (
        updates(relative, theta, first, at=at, length=length) for at, length in ((3, 10), (6, 20), (6, 10), (3, 20))
    )
    learned = [key for key, shape in SHAPES.items() if len(shape) >= 2 or config is SMALL_FC]
    close(same, {key: expected[key] for key in learned}, 1e-6)
    assert min(distance(x["hidden"], expected["hidden"]) for x in (later, longer)) > 1e-3
    theta = theta_of(config)
    published, unended = (updates(config, theta, first, at=3, length=length) for length in (10, 20))
    close(unended, published, 0)


def test_relative_features_of_time_are_as_many_as_documented():
    shapes = [
        jax.eval_shape(Celo2(time_features=x).init, jax.random.key(0))["mlp"].w0.shape for x in ("none", "relative")
    ]
    assert shapes == [(30, 8), (39, 8)]
    shapes = [
        jax.eval_shape(SmallFC(time_features=x).init, jax.random.key(0))["mlp"].w0 for x in ("absolute", "relative")
    ]
    assert shapes[0] == shapes[1]


@BOTH
@ALL
def test_longer_trainings_take_smaller_steps(config, multipliers):
    theta, optimizer = theta_of(config), replace(config, horizon_exponent=0.5)
    for length, factor in ((1000, 1.0), (4000, 0.5), (10, 10.0)):
        plain = updates(config, theta, GRADIENTS, multipliers, length)
        found = updates(optimizer, theta, GRADIENTS, multipliers, length)
        close(found, {key: factor * u for key, u in plain.items()})


DECAYED = {"completep": MUP | {"hidden": replace(MUP["hidden"], weight_decay=6.0)}, "mup": MUP, "sp": SP}


@pytest.mark.parametrize("parametrization", DECAYED)
@ALL
def test_weight_decay_is_decoupled_and_scaled_as_updates_are(config, parametrization):
    """Rate and schedule are the steps'; step sizes and VeLO's own do not matter. Celo2 has a rate for vectors."""
    config, multipliers = replace(config, schedule="warmup_linear", warmup_fraction=0.4), DECAYED[parametrization]
    theta = theta_of(config)
    plain, found = (updates(replace(config, weight_decay=x), theta, GRADIENTS, multipliers) for x in (0.0, 50.0))
    for key, p in PARAMS.items():
        c = multipliers[key]
        factor = c.update * c.weight_decay * 50
        if isinstance(config, Celo2) and p.ndim < 2:
            factor *= config.vector_mult
        for t in range(STEPS):
            rate = config.step_mult * (t + 1) / 4
            wanted = -rate * factor * p
            np.testing.assert_allclose(
                found[key][t] - plain[key][t], wanted, rtol=1e-3, atol=1e-3 * np.max(np.abs(wanted))
            )


def singular_values(update):
    values = np.linalg.svd(update, compute_uv=False)
    return values / values.max()


@pytest.mark.parametrize("multipliers", [MUP, SP, PLAIN], ids=["mup", "sp", "plain"])
def test_only_hidden_matrices_are_orthogonalised_where_that_is_asked_for(multipliers):
    """Of plain numbers no role is known: all are, as before."""
    every, only = (Celo2(orthogonalize=True, orthogonalize_only_hidden=x) for x in (False, True))
    theta = theta_of(CELO2)
    base, orthogonal, found = (updates(x, theta, GRADIENTS, multipliers) for x in (CELO2, every, only))
    spared = ("bias",) if multipliers is PLAIN else ("bias", "input", "output")
    close(found, {key: (base if key in spared else orthogonal)[key] for key in SHAPES})
    assert distance(orthogonal["input"], base["input"]) > 0.1
    for key in ("input", "hidden", "output"):
        smallest = singular_values(found[key][0]).min()
        assert (smallest > 0.55) == (key not in spared)
    powers = {key: only.power(MUP[key], len(shape)) for key, shape in SHAPES.items()}
    assert powers == {"bias": 1, "input": 1, "hidden": 0.5, "output": 1}
    assert every.power(MUP["input"], 2) == only.power(Multiplier(1.0), 2) == 0.5


@pytest.mark.parametrize("architecture", ["small_fc", "velo", "celo2"])
def test_a_start_at_adam_needs_two_hidden_units(architecture):
    raw = {"architecture": architecture, "hidden_size": 1}
    assert parse({"optimizer": raw}).optimizer.hidden_size == 1
    with pytest.raises(ConfigError, match=r"optimizer\.hidden_size=1 .*at least 2 with optimizer\.start=adam"):
        parse({"optimizer": raw | {"start": "adam"}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schedule", "cosine"),
        ("stable_fraction", 1.0),
        ("warmup_fraction", -0.1),
        ("start", "sgd"),
        ("horizon_exponent", 1.5),
        ("weight_decay", -0.1),
        ("time_features", "sometimes"),
        ("scale_free", "perhaps"),
    ],
)
def test_values_that_are_not_possible_are_refused(key, value):
    with pytest.raises(ConfigError, match=rf"optimizer\.{key}"):
        parse({"optimizer": {"architecture": "small_fc", key: value}})


SHARED = {
    "scale_free": True,
    "start": "adam",
    "step_sizes": True,
    "schedule": "warmup_stable_decay",
    "horizon_exponent": 0.5,
    "weight_decay": 0.1,
}
WITH_ALL = (
    SmallFC(hidden_size=4, time_features="relative", normalize_step=True, **SHARED),
    VeLO(lstm_hidden_size=3, param_inits=2, normalize_step=True, **SHARED),
    Celo2(orthogonalize=True, orthogonalize_only_hidden=True, time_features="relative", **SHARED),
)


@pytest.mark.parametrize("config", WITH_ALL, ids=lambda config: config.architecture)
def test_a_checkpoint_keeps_every_option(config, tmp_path):
    theta = theta_of(config) | {"step_sizes": weights("hidden", 0.2, 0.1, 0.0)}
    with CheckpointWriter(tmp_path, config, {"seed": 5}) as writer:
        writer.save(1, theta, {"step": np.int32(1)})
    loaded = checkpoint.load(tmp_path)
    assert loaded.optimizer == config
    expected, found = (updates(*pair, GRADIENTS) for pair in ((config, theta), (loaded.optimizer, loaded.theta)))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
