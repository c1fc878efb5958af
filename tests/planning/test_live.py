"""Arrays that a compiled function makes, against what XLA allots to it."""

import jax
import jax.numpy as jnp
import pytest

from mulo.config import MLPConfig, ResNetConfig, SyntheticDataConfig, ViTConfig
from mulo.data import load
from mulo.planning.live import peak_bytes
from mulo.planning.memory import XLA_MARGIN
from mulo.planning.steps import shapes
from mulo.tasks import make_tasks

N = 1000
SQUARE = jax.ShapeDtypeStruct((N, N), jnp.float32)


def allotted(f, *given):
    """XLA's bytes beside the arguments."""
    found = jax.jit(f).lower(*given).compile().memory_analysis()
    return found.temp_size_in_bytes + found.output_size_in_bytes


@pytest.mark.parametrize(
    ("f", "matrices"),
    [
        (lambda x: (2 * x + jnp.abs(x)).sum(), 0),
        (lambda x: 2 * x + jnp.abs(x), 1),
        (lambda x: jnp.maximum(x @ x, 0) @ x, 2),
        (lambda x: (jnp.tanh(y := x @ x) @ x) + 3 * jnp.abs(y), 3),
        (lambda x: ((t := jnp.tanh(x @ x)) @ x) * (1 - t * t), 2),
        (lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c @ x, x), 2),
    ],
    ids=["nothing between operations", "a result", "in place", "what is read later", "costly results", "loops"],
)
def test_arrays_are_those_that_xla_makes(f, matrices):
    assert peak_bytes(f, SQUARE) == pytest.approx(matrices * 4 * N * N, abs=100)
    assert allotted(f, SQUARE) == pytest.approx(matrices * 4 * N * N, rel=0.01, abs=10_000)


NETWORKS = {
    "MLP": MLPConfig(width=64, batch_size=512),
    "MLP with tanh": MLPConfig(width=64, batch_size=512, activation="tanh"),
    "MLP with GELU": MLPConfig(width=64, batch_size=512, activation="gelu"),
    "ResNet": ResNetConfig(width=16, batch_size=16),
    "ViT": ViTConfig(width=32, batch_size=32),
}


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, id=name, marks=[] if name.startswith("MLP") else pytest.mark.slow)
        for name, config in NETWORKS.items()
    ],
)
def test_gradients_of_networks_take_what_xla_allots(config):
    task = make_tasks(config, "mup", load(SyntheticDataConfig(shape=[8, 8, 3])))[0]
    gradient, given = jax.value_and_grad(task.loss), shapes(task)
    assert 0.75 < XLA_MARGIN * peak_bytes(gradient, *given) / allotted(gradient, *given) < 1.35
