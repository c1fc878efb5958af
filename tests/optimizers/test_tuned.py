"""Settings that are tuned in one program: each acts as if it were configured."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.optimizers import Celo2, SmallFC, VeLO, with_state_dtype
from mulo.optimizers.tuned import Tuned

OPTIMIZERS = {
    "small_fc": SmallFC(hidden_size=2),
    "velo": VeLO(hidden_size=2, lstm_hidden_size=2, param_inits=2, param_scale_mult=True),
    "celo2": Celo2(hidden_size=2, schedule="warmup_cosine"),
}
EACH = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
RNG = np.random.default_rng(0)
PARAMS, GRADIENTS = ({"b": RNG.normal(size=3), "w": RNG.normal(size=(3, 2))} for _ in range(2))
PARAMS, GRADIENTS = (jax.tree.map(jnp.float32, tree) for tree in (PARAMS, GRADIENTS))


def update(optimizer, theta):
    """The first update."""
    transform = optimizer.transform(theta, 4, {"b": 1.0, "w": 0.5})
    return transform.update(GRADIENTS, transform.init(PARAMS), PARAMS, value=jnp.float32(1.0))[0]


@pytest.fixture(scope="module")
def first(jit):
    return lambda optimizer, theta: jit(partial(update, optimizer))(theta)


def theta_of(optimizer):
    """Fresh, with biases: VeLO's first step is none without them."""
    return jax.tree.map(lambda x: x + 0.1, jax.jit(optimizer.init)(jax.random.key(0)))


@EACH
def test_settings_in_theta_act_as_those_that_are_configured(optimizer, first, jit):
    theta = theta_of(optimizer)
    tried = [{name: 3 * getattr(optimizer, name)} for name in optimizer.tunable]
    complete = [{name: getattr(optimizer, name) for name in optimizer.tunable} | settings for settings in [{}, *tried]]
    thetas = jax.tree.map(lambda *x: jnp.stack(x), *(Tuned.theta(theta, settings) for settings in complete))
    found = jit(jax.vmap(partial(update, Tuned(optimizer))))(thetas)
    for i, settings in enumerate(complete):
        alone = first(replace(optimizer, **settings), theta)
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=2e-5, atol=1e-9), found, alone)
    rows = np.concatenate([np.reshape(x, (len(complete), -1)) for x in jax.tree.leaves(found)], axis=1)
    assert len(np.unique(rows, axis=0)) == len(complete)


def test_moments_are_kept_as_asked():
    optimizer = OPTIMIZERS["small_fc"]
    tuned, alone = Tuned(optimizer, "bfloat16"), with_state_dtype(optimizer, "bfloat16")
    theta = theta_of(optimizer)
    states = [
        jax.eval_shape(made.transform(given, 4, {"b": 1.0, "w": 0.5}).init, PARAMS)
        for made, given in ((tuned, Tuned.theta(theta, {})), (alone, theta))
    ]
    found, expected = ([x.dtype for x in jax.tree.leaves(state)] for state in states)
    assert found == expected
    assert jnp.bfloat16 in found


@EACH
def test_fresh_theta_has_the_configured_settings(optimizer):
    theta = Tuned(optimizer).init(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, theta["weights"], optimizer.init(jax.random.key(3)))
    assert theta["settings"] == {name: np.float32(getattr(optimizer, name)) for name in optimizer.tunable}
