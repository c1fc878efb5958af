"""Moments in bfloat16: half the memory, right on average, and trainings that end where those in float32 do."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo import checkpoint, data, randomness
from mulo.config import EmbeddedDataConfig, MLPConfig
from mulo.errors import ArgumentError
from mulo.evaluation.rollout import rollout
from mulo.optimizers import AdamW, Celo2, Muon, ScheduleFree, SmallFC, VeLO, with_state_dtype
from mulo.optimizers.reduced_state import stochastic_round
from mulo.tasks import make_tasks
from mulo.types import Multiplier

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
STORED = {"small_fc": "theta/small_fc_mup", "velo": "theta/velo_mup"}
CONFIGS = {
    "small_fc": SmallFC(hidden_size=4),
    "velo": VeLO(),
    "celo2": Celo2(),
    "adamw": AdamW(),
    "muon": Muon(),
    "schedule_free": ScheduleFree(learning_rate=0.03),
}


@pytest.mark.parametrize("value", [1.0 + 2**-9, -3.7e-12, 5.2e20])
def test_rounding_is_right_on_average_and_to_a_neighbour(value):
    x = jnp.full(200_000, value, jnp.float32)
    rounded = np.float64(stochastic_round(x, jnp.int32(3), 1))
    exact = float(np.float32(value))
    below, above = sorted({float(v) for v in rounded})
    assert below < exact < above
    assert above - below <= abs(exact) * 2**-7
    share = (exact - below) / (above - below)
    assert abs(np.mean(rounded == above) - share) < 5 * np.sqrt(share * (1 - share) / len(x))


def test_rounding_leaves_what_bfloat16_holds_and_what_is_not_finite():
    x = jnp.array([0.0, -0.0, 1.5, -2.0, 2.0**-126, jnp.inf, -jnp.inf])
    np.testing.assert_array_equal(np.float32(stochastic_round(x, jnp.int32(0), 0)), x)
    assert jnp.isnan(stochastic_round(jnp.full(99, jnp.nan), jnp.int32(0), 0)).all()


def test_rounding_differs_from_step_to_step_and_between_streams():
    x = jnp.full(1000, 1.0 + 2**-8)  # half-way
    first, later, other = (
        np.float32(stochastic_round(x, jnp.int32(step), stream)) for step, stream in ((0, 0), (1, 0), (0, 1))
    )
    for one, two in ((first, later), (first, other), (later, other)):
        assert 0.4 < np.mean(one == two) < 0.6


@pytest.mark.parametrize("name", ["small_fc", "velo"])
def test_a_slow_average_does_not_stop(name):
    """Under a constant gradient v is g²·(1 − β^t) exactly; rounding to nearest would stop it at half of g²."""
    steps, gradient = 3000, {"kernel": jnp.full((40, 50), 0.1)}
    optimizer = with_state_dtype(CONFIGS[name], "bfloat16")
    transform = optimizer.transform(optimizer.init(randomness.root(0)), steps, {"kernel": 1.0})

    def step(state, _):
        return transform.update(gradient, state, gradient, value=jnp.float32(1))[1], None

    state, _ = jax.lax.scan(step, transform.init(gradient), None, steps)
    moment = state.inner.tensors["kernel"].second_moment
    assert moment.dtype == jnp.bfloat16
    expected = 0.01 * (1 - 0.999**steps)
    assert np.float64(moment).mean() == pytest.approx(expected, rel=5e-3)

    nearest = jnp.bfloat16(0)
    for _ in range(steps):
        nearest = jnp.bfloat16(0.999 * jnp.float32(nearest) + 0.001 * jnp.float32(0.01))
    assert float(nearest) < 0.7 * expected


MULTIPLIERS = {"kernel": Multiplier(1.0, role="hidden", axes="io"), "bias": Multiplier(1.0, role="bias")}
COPIES = {"small_fc": 4, "velo": 4, "celo2": 4, "adamw": 2, "muon": 1, "schedule_free": 2}
"""Arrays as large as a matrix that are moments; schedule-free's z is none."""


@pytest.mark.parametrize("name", CONFIGS)
def test_all_moments_take_half_the_memory(name):
    params = {"kernel": jnp.ones((60, 70)), "bias": jnp.ones(5)}

    def size(state_dtype):
        optimizer = with_state_dtype(CONFIGS[name], state_dtype)
        state = optimizer.transform(optimizer.init(randomness.root(0)), 10, MULTIPLIERS).init(params)
        return sum(x.nbytes for x in jax.tree.leaves(state) if x.size >= 60 * 70)

    assert size("float32") - size("bfloat16") == 2 * COPIES[name] * 60 * 70


def test_moments_that_nobody_names_are_an_error():
    class Forgetful(AdamW):
        def moments(self):
            return {}

    optimizer = with_state_dtype(Forgetful(), "bfloat16")
    with pytest.raises(ArgumentError, match=r"adamw: its state holds .*kernel"):
        optimizer.transform(optimizer.init(randomness.root(0)), 10, MULTIPLIERS).init({"kernel": jnp.ones((6, 7))})


def trained(name):
    """Settings and a meta-trained θ, where one is stored."""
    if name not in STORED:
        return CONFIGS[name], CONFIGS[name].init(randomness.root(0))
    loaded = checkpoint.load(EXPERIMENTS / STORED[name])
    return loaded.meta.optimizer, loaded.theta


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        ("small_fc", 0.04),  # stopped half-way down, where seeds are 0.08 apart
        pytest.param("velo", 0.01, marks=pytest.mark.slow),
        pytest.param("celo2", 1e-3, marks=pytest.mark.slow),
        pytest.param("adamw", 1e-3, marks=pytest.mark.slow),
        pytest.param("muon", 1e-2, marks=pytest.mark.slow),
        pytest.param("schedule_free", 1e-2, marks=pytest.mark.slow),
    ],
)
def test_trainings_end_where_those_in_float32_do(name, apart):
    config, theta = trained(name)
    task = make_tasks(MLPConfig(width=16, depth=1, batch_size=32), "mup", data.load(EmbeddedDataConfig()))[0]

    def final(state_dtype):
        optimizer = with_state_dtype(config, state_dtype)
        return rollout(task, optimizer, theta, num_steps=60, seeds=2, key=randomness.root(1)).train_loss

    full, half = final("float32"), final("bfloat16")
    assert np.all(full < np.log(10) - 0.02)
    assert np.abs(half - full).max() < apart
    assert np.any(half != full)
