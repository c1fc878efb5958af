"""CompleteP's Adam: ε and weight decay of hidden matrices have factors of their own (arXiv 2505.01618, table 1)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.optimizers import AdamW, Celo2, SmallFC
from mulo.parametrization import Parametrization, Role
from mulo.types import Multiplier

FAN_IN, BLOCKS = 16, 3
EPS, DECAY, RATE = 1e-3, 0.1, 0.01
KEY = jax.random.key(0)
HIDDEN = Parametrization("completep", blocks=BLOCKS).rule(Role.HIDDEN, FAN_IN).update
PARAMS = {"hidden": jax.random.normal(KEY, (FAN_IN, FAN_IN)), "bias": jnp.ones(FAN_IN)}


def trajectory(transform, steps=4):
    params, state = PARAMS, transform.init(PARAMS)
    for t in range(steps):
        gradients = jax.tree.map(lambda p, t=t: 0.01 * jax.random.normal(jax.random.fold_in(KEY, t), p.shape), PARAMS)
        updates, state = transform.update(gradients, state, params, value=jnp.float32(1))
        params = optax.apply_updates(params, updates)
    return params


def test_the_rule_of_a_hidden_matrix():
    assert (float(HIDDEN), HIDDEN.epsilon, HIDDEN.weight_decay) == (1 / FAN_IN, 1 / (FAN_IN * BLOCKS), FAN_IN)
    mup = Parametrization("mup").rule(Role.HIDDEN, FAN_IN).update
    assert (float(mup), mup.epsilon, mup.weight_decay) == (1 / FAN_IN, 1, 1)


def test_adam_is_optaxs_with_the_rate_epsilon_and_decay_of_each_parameter():
    optimizer = AdamW(learning_rate=RATE, eps=EPS, weight_decay=DECAY)
    own = optimizer.transform(optimizer.init(KEY), 4, {"hidden": HIDDEN, "bias": Multiplier(1)})
    optaxs = optax.multi_transform(
        {
            "hidden": optax.adamw(RATE / FAN_IN, eps=EPS / (FAN_IN * BLOCKS), weight_decay=DECAY * FAN_IN),
            "bias": optax.adamw(RATE, eps=EPS, weight_decay=DECAY),
        },
        {"hidden": "hidden", "bias": "bias"},
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), trajectory(own), trajectory(optaxs))


@pytest.mark.parametrize("orthogonalize", [False, True])
def test_weight_decay_of_celo2_does_not_depend_on_width(orthogonalize):
    """The decay is learning rate · coefficient, whatever power of 1/n scales the update."""
    moved = {}
    for decay in (0.0, DECAY):
        optimizer = Celo2(step_mult=RATE, weight_decay=decay, orthogonalize=orthogonalize)
        transform = optimizer.transform(optimizer.init(KEY), 1, {"hidden": HIDDEN, "bias": Multiplier(1)})
        moved[decay] = trajectory(transform, steps=1)["hidden"]
    np.testing.assert_allclose(moved[DECAY] - moved[0.0], -RATE * DECAY * PARAMS["hidden"], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "rank", "expected"),
    [
        (SmallFC(), 2, (1 / 16, 1, 1 / 48)),
        (Celo2(), 2, (1 / 16, 1, 1 / 48)),
        (Celo2(orthogonalize=True), 2, (1 / 4, 1, 1 / 48)),
        (Celo2(orthogonalize=True), 1, (1 / 16, 1, 1 / 48)),
    ],
)
def test_factors_in_effect(config, rank, expected):
    assert config.factors(HIDDEN, rank) == pytest.approx(expected)
    assert config.factors(0.5, 1) == (0.5, 0.5, 1)
