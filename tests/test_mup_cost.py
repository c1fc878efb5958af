"""µP costs nothing: the compiled training step does the same arithmetic as under SP."""

from dataclasses import replace

import jax
import pytest

from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.optimizers import SmallFC, native
from mulo.tasks import make_tasks
from mulo.unroll import start, unroll

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flops():
    """Of the JAX form: what the native kernel computes XLA does not count."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "available", lambda: False)
        for parametrization in ("mup", "sp"):
            found[parametrization] = flops_of(parametrization)
    return found


def flops_of(parametrization):
    """Of two training steps."""
    config = replace(SmallFC(hidden_size=4, zero_non_finite=False), parametrization=parametrization)
    task = make_tasks(MLPConfig(width=64, batch_size=32), parametrization, load(SyntheticDataConfig()))[0]
    optimizer, key = config, jax.random.key(0)
    theta = optimizer.init(key)
    training = jax.eval_shape(lambda: start(task, optimizer, theta, 10, key))
    step = jax.jit(lambda tr, keys: unroll(task, optimizer, theta, tr, 10, task.data, keys)[0])
    return step.lower(training, jax.random.split(key, 2)).compile().cost_analysis()["flops"]


def test_flops_are_those_of_sp(flops):
    assert flops["mup"] == pytest.approx(flops["sp"], rel=0.01)


def test_they_are_those_of_a_whole_step(flops):
    """At least two matrix products per matrix and example (forward, and its gradient), in each of two steps."""
    weights = 64 * 64 * 3 + 64 * 10
    assert flops["mup"] > 2 * 2 * 2 * 32 * weights
