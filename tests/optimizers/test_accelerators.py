"""Without an accelerator: that updates lower for one, in JAX alone, and in tiles chosen for it."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.straightforward import traced_as
from mulo import randomness
from mulo.optimizers import Celo2, SmallFC, VeLO

CONFIGS = (SmallFC(), SmallFC(hidden_size=4), VeLO(), Celo2(orthogonalize=True))


def lowered(config, platform, form):
    """StableHLO of one update of a matrix and a vector."""
    optimizer = config
    params = {"kernel": jnp.ones((600, 700)), "bias": jnp.ones(5)}
    transform = optimizer.transform(optimizer.init(randomness.root(0)), 10, {"kernel": 1.0, "bias": 1.0})
    state = jax.eval_shape(transform.init, params)
    with traced_as(form):
        traced = jax.jit(lambda g, s, p: transform.update(g, s, p, value=jnp.float32(1))).trace(params, state, params)
        return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.architecture}-{config.hidden_size}")
def test_updates_lower_without_the_native_kernel(config, platform):
    assert "mulo_tensor" not in lowered(config, platform, "jax")


def test_the_native_kernel_would_be_seen():
    assert "mulo_tensor_update" in lowered(CONFIGS[0], "cpu", "native")


def test_tiles_are_those_of_the_backend(monkeypatch):
    """Of 16,384 entries on CPUs, 23 rows of the matrix; of 131,072 elsewhere, 150 rows."""
    assert "x23x700xf32" in lowered(CONFIGS[0], "cpu", "jax")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = lowered(CONFIGS[0], "cuda", "jax")
    assert "x150x700xf32" in elsewhere
    assert "x23x700xf32" not in elsewhere
