"""What an optimizer needs and is not given is named, never made up; all of it found while tracing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.errors import MultiplierError
from mulo.optimizers import AdamW, SmallFC, VeLO

PARAMS = {"first": {"bias": np.ones(4, np.float32)}, "last": {"kernel": np.ones((3, 4), np.float32)}}
MULTIPLIERS = {"first/bias": 1.0, "last/kernel": 0.5}
CONFIGS = [SmallFC(), VeLO(), AdamW()]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.architecture)
def make(request):
    """The optimizer as a function of its multipliers."""
    optimizer = request.param
    theta = jax.tree.map(jnp.zeros_like, jax.eval_shape(optimizer.init, jax.random.key(0)))
    return lambda multipliers: optimizer.transform(theta, 10, multipliers)


def updated(transform, state, params=PARAMS, **extra):
    return jax.eval_shape(lambda s: transform.update(PARAMS, s, params, **extra), state)


def test_missing_multiplier_is_named_at_the_start(make):
    transform = make({"first/bias": 1.0})
    with pytest.raises(MultiplierError, match=r"for last/kernel: .* there for: first/bias"):
        jax.eval_shape(transform.init, PARAMS)


def test_missing_multiplier_is_named_at_a_step(make):
    state = jax.eval_shape(make(MULTIPLIERS).init, PARAMS)
    with pytest.raises(MultiplierError, match=r"for first/bias, last/kernel: .* there for: nothing"):
        updated(make({}), state, value=1.0)


def test_multipliers_of_masked_parameters_are_not_asked_for(make):
    transform = optax.masked(make({"last/kernel": 0.5}), {"first": False, "last": True})
    updates, _ = updated(transform, jax.eval_shape(transform.init, PARAMS), value=1.0)
    assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)


def test_missing_params_are_named(make):
    transform = make(MULTIPLIERS)
    with pytest.raises(TypeError, match="needs `params`"):
        updated(transform, jax.eval_shape(transform.init, PARAMS), params=None, value=1.0)


def test_velo_names_a_missing_loss():
    optimizer = VeLO()
    transform = optimizer.transform(optimizer.init(jax.random.key(0)), 10, MULTIPLIERS)
    with pytest.raises(TypeError, match=r"needs `value`: .*value=loss"):
        updated(transform, jax.eval_shape(transform.init, PARAMS))


@pytest.mark.parametrize("config", [SmallFC(), AdamW()])
def test_others_need_no_loss_and_take_what_is_meant_for_other_transformations(config):
    optimizer = config
    transform = optimizer.transform(optimizer.init(jax.random.key(0)), 10, MULTIPLIERS)
    state = jax.eval_shape(transform.init, PARAMS)
    assert updated(transform, state) == updated(transform, state, value=1.0, value_fn=None)
