"""Every setting of the learned optimizers acts, and in the way its name says."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo import trees
from mulo.optimizers import SmallFC, VeLO

SMALL_FC = SmallFC(hidden_size=9)
VELO = VeLO(hidden_size=9, lstm_hidden_size=3, param_inits=2, interp_mult=10.0)
BOTH = pytest.mark.parametrize("config", [SMALL_FC, VELO], ids=["small_fc", "velo"])
LIVE = 5057 - (30 * 16 + 16)
"""µVeLO's weights without the dead layer that its stored θ has."""
ONES = {"bias": 1.0, "kernel": 1.0}


def normal(seed, scale):
    rng = np.random.default_rng(seed)
    shapes = {"bias": (3,), "kernel": (4, 3)}
    return {name: np.float32(scale * rng.standard_normal(s)) for name, s in shapes.items()}


PARAMS, GRADIENTS = normal(1, 0.3), normal(2, 0.1)


def fresh_and_noisy(config, key):
    theta = config.init(key)
    noise = trees.random_normal(jax.random.fold_in(key, 1), theta)
    scale = 0.02 if isinstance(config, SmallFC) else 0.2
    return jax.tree.map(lambda x, e: x + scale * e, theta, noise)


@pytest.fixture(scope="module")
def thetas(jit):
    """One θ per architecture, every weight away from its often zero start."""
    return {
        type(config): jit(functools.partial(fresh_and_noisy, config))(jax.random.key(0)) for config in (SMALL_FC, VELO)
    }


@pytest.fixture(scope="module")
def update(jit, thetas):
    """First update under given settings, and the state after it; compiled once per settings."""

    @functools.cache
    def compiled(config):
        def first(theta, gradients):
            transform = config.transform(theta, 10, ONES)
            return transform.update(gradients, transform.init(PARAMS), PARAMS, value=jnp.float32(2.0))

        return jit(first)

    def run(config, theta=None, gradients=GRADIENTS):
        return compiled(config)(theta or thetas[type(config)], gradients)

    return run


def size(config):
    theta = jax.eval_shape(config.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(theta))


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (SmallFC(), 2409),
        (SmallFC(hidden_size=4), 39 * 4 + 4 + 4 * 4 + 4 + 4 * 2 + 2 + 7),
        (VeLO(), LIVE),
        (VeLO(hidden_size=8), LIVE + 8 * (30 * 4 + 4 + 48 + 4 + 12)),
        (VeLO(param_inits=9), LIVE + (30 * 4 + 4 + 4 * 4 + 4 + 4 * 3 + 3) + 17),
        (
            VeLO(lstm_hidden_size=17),
            LIVE + 2 * 31 + (34 * 68 + 68 - 32 * 64 - 64) + 8 + 1 + 2,
        ),
    ],
)
def test_sizes_decide_the_number_of_weights(config, weights):
    assert size(config) == weights


@BOTH
def test_step_mult_scales_the_update(config, update):
    small, large = (update(replace(config, step_mult=x * config.step_mult))[0] for x in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(4 * a, b, rtol=1e-6), small, large)
    assert np.all(small["kernel"] != 0)


@BOTH
def test_exp_mult_is_the_weight_of_the_magnitude_in_the_exponent(config, update):
    none, some, double = (update(replace(config, exp_mult=x))[0]["kernel"] for x in (0.0, 0.5, 1.0))
    logs = np.log(some / none)
    assert np.max(np.abs(logs)) > 1e-3
    np.testing.assert_allclose(np.log(double / none), 2 * logs, rtol=1e-3, atol=1e-6)


def test_interp_mult_scales_the_mixed_weights(update, thetas):
    theta = thetas[VeLO]
    scaled = theta | {"mlp": jax.tree.map(lambda x: 3 * x, theta["mlp"])}
    expected = update(VELO, scaled)[0]
    actual = update(replace(VELO, interp_mult=30.0), theta)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), actual, expected)
    assert not np.allclose(actual["kernel"], update(VELO, theta)[0]["kernel"], rtol=0.1, atol=0)


def test_param_scale_mult_scales_by_the_rms_of_each_tensor(update):
    off, on = (update(replace(VELO, param_scale_mult=x))[0] for x in (False, True))
    for name, p in PARAMS.items():
        rms = np.sqrt(np.mean(np.square(p, dtype=np.float64)) + 1e-9)
        np.testing.assert_allclose(on[name], rms * off[name], rtol=1e-5)


def test_non_finite_entries_count_as_zero_or_go_through(update):
    bias = jnp.array([jnp.nan, -jnp.inf, jnp.inf])
    spoilt, zeroed = GRADIENTS | {"bias": bias}, GRADIENTS | {"bias": jnp.zeros(3)}
    assert SMALL_FC.zero_non_finite
    on, state = update(SMALL_FC, gradients=spoilt)
    expected, clean = update(SMALL_FC, gradients=zeroed)
    jax.tree.map(np.testing.assert_array_equal, on, expected)
    assert (int(state.non_finite), int(clean.non_finite)) == (3, 0)

    off, state = update(replace(SMALL_FC, zero_non_finite=False), gradients=spoilt)
    assert np.all(np.isnan(off["bias"]))
    np.testing.assert_allclose(off["kernel"], on["kernel"], rtol=1e-5)
    assert int(state.non_finite) == 0


def test_non_finite_entries_are_counted_over_the_whole_training(thetas, jit):
    transform = SMALL_FC.transform(thetas[SmallFC], 10, ONES)
    spoilt = {"bias": jnp.array([jnp.nan, 0.0, jnp.inf])}
    params = {"bias": PARAMS["bias"]}

    def step(state, _):
        return transform.update(spoilt, state, params)[1], None

    state, _ = jit(lambda: jax.lax.scan(step, transform.init(params), length=3))()
    assert int(state.non_finite) == 6


@BOTH
def test_fresh_theta_differs_by_key_and_is_the_same_by_the_same_key(config, jit):
    init = jit(config.init)
    first, again, other = (init(jax.random.key(k)) for k in (0, 0, 1))
    assert trees.digest(first) == trees.digest(again)
    assert trees.digest(first) != trees.digest(other)


@pytest.mark.parametrize("config", [SmallFC(hidden_size=64), VeLO(param_inits=64)])
def test_fresh_mlp_weights_have_std_one_over_root_fan_in(config, jit):
    mlp = jit(config.init)(jax.random.key(0))["mlp"]
    for w, fan_in in ((mlp.w0, mlp.w0.shape[-2]), (mlp.w1, config.hidden_size)):
        assert np.max(np.abs(w)) <= 2 / np.sqrt(fan_in)
        assert np.std(w) == pytest.approx(0.8796 / np.sqrt(fan_in), rel=0.08)
    assert not any(np.any(b) for b in (mlp.b0, mlp.b1, mlp.b2))
