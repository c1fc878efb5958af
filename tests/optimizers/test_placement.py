"""Where a loaded θ and an optimizer's state live: with the parameters, as those of optax do."""

import jax
import jax.numpy as jnp
import pytest

import mulo

from ..command import python_on

THETAS = ("experiments/theta/velo_mup", "experiments/theta/small_fc_mup")


@pytest.mark.parametrize("path", THETAS)
def test_a_loaded_theta_goes_where_it_is_used(path):
    loaded = mulo.load(path)
    assert not any(x.committed for x in jax.tree.leaves(loaded.theta))
    assert {x.dtype for x in jax.tree.leaves(loaded.theta)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("path", THETAS)
def test_a_users_step_is_compiled_once(path, jit):
    transform = mulo.load(path).transform(10, {"w": 1.0})
    params = {"w": jnp.ones((4, 3))}

    @jit
    def step(params, state):
        updates, state = transform.update(params, state, params, value=jnp.float32(1))
        return jax.tree.map(jnp.add, params, updates), state

    given = params, transform.init(params)
    for _ in range(3):
        given = step(*given)
    assert step._cache_size() == 1


@pytest.mark.parametrize("form", ["native", pytest.param("jax", marks=pytest.mark.slow)])
def test_state_lies_where_parameters_do(form, monkeypatch):
    """On two devices, which need a process of their own."""
    monkeypatch.setenv("MULO_KERNEL", form)
    assert python_on(2, "-m", "tests.optimizers.on_two_devices").split() == ["loaded", *["placed"] * 6]
