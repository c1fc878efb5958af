"""Steps that are not finite spoil a training for good, unless the settings say that they are to be skipped."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import parse_group, to_dict
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO

VELO = VeLO(hidden_size=2, lstm_hidden_size=3, param_inits=2)
CONFIGS = [
    SmallFC(hidden_size=2),
    SmallFC(name="small_fc_sp", parametrization="sp", hidden_size=2, zero_non_finite=False),
    VELO,
    replace(VELO, name="velo_sp", parametrization="sp", param_scale_mult=True),
    Celo2(hidden_size=2),
    AdamW(),
]
PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2), "b": np.ones(2, np.float32)}
GOOD = (jax.tree.map(lambda p: 0.1 * p, PARAMS), 1.0)
BAD = {
    "gradient nan": ({**GOOD[0], "w": np.float32([[1, np.nan], [0, 1], [1, 1]])}, 1.0),
    "gradient inf": ({**GOOD[0], "b": np.float32([np.inf, 0])}, 1.0),
    "gradient of 1e25": ({**GOOD[0], "w": np.full((3, 2), 1e25, np.float32)}, 1.0),
    "loss nan": (GOOD[0], np.float32(np.nan)),
    "loss -inf": (GOOD[0], np.float32(-np.inf)),
}


def training(config, jit):
    """A function of gradients and losses of consecutive steps: the last updates and state."""
    optimizer = config
    transform = optimizer.transform(optimizer.init(jax.random.key(0)), 10, dict.fromkeys(PARAMS, 1.0))
    update = jit(lambda g, state, loss: transform.update(g, state, PARAMS, value=loss))

    def train(*steps):
        state = transform.init(PARAMS)
        for gradients, loss in steps:
            updates, state = update(gradients, state, jnp.float32(loss))
        return updates, state

    return train


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_steps_that_are_not_finite_are_skipped_and_counted(config, jit):
    train = training(replace(config, skip_non_finite=True), jit)
    expected, expected_state = train(GOOD, GOOD)
    for bad in BAD.values():
        none, _ = train(GOOD, bad)
        assert not any(np.any(u) for u in jax.tree.leaves(none))
    updates, state = train(GOOD, *BAD.values(), GOOD)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    jax.tree.map(np.testing.assert_array_equal, state.inner, expected_state.inner)
    assert state.skipped == len(BAD)
    assert expected_state.skipped == 0


def finite(tree):
    return all(np.all(np.isfinite(x)) for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_otherwise_an_optimizer_behaves_as_published(config, jit):
    """θ's settings without the key mean that steps are not skipped, and a sound training is the same either way."""
    stored = {key: value for key, value in to_dict(config).items() if key != "skip_non_finite"}
    assert parse_group("optimizer", stored) == config
    train = training(config, jit)
    jax.tree.map(
        np.testing.assert_array_equal,
        train(GOOD, GOOD)[0],
        training(replace(config, skip_non_finite=True), jit)(GOOD, GOOD)[0],
    )
    if not getattr(config, "zero_non_finite", False):
        assert not finite(train(BAD["gradient nan"], GOOD)[0])
