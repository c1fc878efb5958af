"""Learned optimizers compute the same numbers, in the same dtypes, whatever JAX's global flags say."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO, with_state_dtype

CONFIGS = {
    "small_fc": SmallFC(hidden_size=9),
    "velo": VeLO(hidden_size=2, lstm_hidden_size=3, param_inits=2),
    "celo2": Celo2(hidden_size=2, schedule="warmup_cosine", weight_decay=0.1),
    "adamw": AdamW(schedule="warmup_cosine", weight_decay=0.1),
}
PARAMS = {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "b": np.ones(4, np.float32)}


@contextlib.contextmanager
def all_flags(strict):
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_rank_promotion("raise"))
        stack.enter_context(jax.debug_nans(True))
        if strict:
            stack.enter_context(jax.numpy_dtype_promotion("strict"))
        yield


def trained(config, jit):
    optimizer = with_state_dtype(config, "bfloat16" if config.architecture == "velo" else "float32")
    theta = optimizer.init(jax.random.key(0))
    transform = optimizer.transform(theta, 10, dict.fromkeys(PARAMS, 1.0))
    state = transform.init(PARAMS)
    update = jit(lambda gradients, state: transform.update(gradients, state, PARAMS, value=1.0))
    for scale in (1.0, 0.1):
        updates, state = update(jax.tree.map(lambda p, s=scale: jnp.asarray(p) * s, PARAMS), state)
    return theta, updates, state


@pytest.mark.parametrize("name", CONFIGS)
def test_numbers_and_dtypes_do_not_depend_on_flags(name, jit):
    expected = trained(CONFIGS[name], jit)
    with all_flags(strict=name in ("small_fc", "velo")):  # optax's Adam does not pass under strict promotion
        found = trained(CONFIGS[name], jit)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert np.linalg.norm(a - e) <= 1e-5 * np.linalg.norm(e)
