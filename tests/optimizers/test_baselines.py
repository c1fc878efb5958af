"""AdamW is optax's, µAdam is optax's times the multipliers, and the schedule is the formula in its description."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.optimizers import AdamW

RNG = np.random.default_rng(0)
PARAMS = {"bias": np.float32(RNG.standard_normal(3)), "kernel": np.full((4, 3), 0.5, np.float32)}
STEPS = 6
GRADIENTS = jax.tree.map(lambda p: np.float32(RNG.standard_normal((STEPS, *p.shape))), PARAMS)
ONES = {"bias": 1.0, "kernel": 1.0}
PLAIN = AdamW(learning_rate=0.01, weight_decay=0.1)


@pytest.fixture(scope="module")
def train(jit):
    """Updates [steps, ...] along a training with given gradients."""

    def run(transform, gradients=GRADIENTS):
        def step(carry, gradient):
            params, state = carry
            updates, state = transform.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), updates

        return jit(lambda g: jax.lax.scan(step, (PARAMS, transform.init(PARAMS)), g)[1])(gradients)

    return run


def ours(config, multipliers=ONES, num_steps=STEPS):
    return config.transform(config.init(jax.random.key(0)), num_steps, multipliers)


def theirs(config, number=jnp.float32):
    """optax.adamw; float32 settings, as θ holds them, make it agree to the last bit."""
    settings = (number(x) for x in (config.learning_rate, config.b1, config.b2))
    return optax.adamw(*settings, config.eps, weight_decay=number(config.weight_decay))


CHANGES = [
    {},
    {"learning_rate": 0.3},
    {"b1": 0.5},
    {"b2": 0.9},
    {"eps": 1e-2},
    {"weight_decay": 0.0},
    {"weight_decay": 1.0},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_adamw_is_that_of_optax(change, train):
    config = replace(PLAIN, **change)
    updates = train(ours(config))
    jax.tree.map(np.testing.assert_array_equal, updates, train(theirs(config)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), updates, train(theirs(config, float)))


@pytest.mark.parametrize("change", CHANGES[1:], ids=str)
def test_every_setting_acts(change, train):
    changed, same = train(ours(replace(PLAIN, **change))), train(ours(PLAIN))
    assert not np.allclose(changed["kernel"], same["kernel"], rtol=1e-3, atol=0)


def test_mu_adam_scales_the_update_of_optax_by_the_multipliers(train):
    """Without weight decay, as in the paper, the updates do not depend on where the parameters have gone."""
    config = replace(PLAIN, name="mu_adam", parametrization="mup", weight_decay=0.0)
    updates = train(ours(config, {"bias": 1.0, "kernel": 1 / 4}))
    expected = train(theirs(config))
    np.testing.assert_array_equal(updates["bias"], expected["bias"])
    np.testing.assert_array_equal(updates["kernel"], expected["kernel"] / 4)


def test_multiplier_scales_the_weight_decay_too():
    gradient = jax.tree.map(jnp.zeros_like, PARAMS)
    transform = ours(PLAIN, {"bias": 1.0, "kernel": 0.25})
    updates, _ = transform.update(gradient, transform.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["kernel"], -0.01 * 0.1 * 0.25 * PARAMS["kernel"], rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], -0.01 * 0.1 * PARAMS["bias"], rtol=1e-6)


def warmup_cosine(step, num_steps, warmup_fraction, final_fraction):
    """Linear from 1/warmup to 1, then half a cosine from 1 to the final fraction; relative to the peak."""
    warmup = warmup_fraction * num_steps
    if step < warmup:
        return min((step + 1) / warmup, 1.0)
    share = (step - warmup) / (num_steps - warmup)
    return final_fraction + (1 - final_fraction) * (1 + np.cos(np.pi * min(share, 1.0))) / 2


def scheduled(config, num_steps, steps, jit):
    """Learning rates over the peak, read off a pure weight decay: with zero gradients the update is −rate·decay·p."""
    optimizer, ones = replace(config, weight_decay=1.0), {"": 1.0}
    p = jnp.float32(1.0)

    def rates(num_steps):
        transform = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps, ones)

        def step(state, _):
            update, state = transform.update(jnp.zeros(()), state, p)
            return state, -update / config.learning_rate

        return jax.lax.scan(step, transform.init(p), length=steps)[1]

    return jit(rates)(num_steps)


@pytest.mark.parametrize(
    ("num_steps", "warmup_fraction", "final_fraction"),
    [(100, 0.05, 0.1), (100, 0.3, 0.1), (100, 0.05, 0.0), (100, 0.0, 0.5), (37, 0.1, 0.1), (40, 0.05, 1.0)],
)
def test_warmup_cosine_is_its_formula(num_steps, warmup_fraction, final_fraction, jit):
    config = AdamW(schedule="warmup_cosine", warmup_fraction=warmup_fraction, final_fraction=final_fraction)
    rates = scheduled(config, num_steps, num_steps + 10, jit)
    expected = [warmup_cosine(t, num_steps, warmup_fraction, final_fraction) for t in range(num_steps + 10)]
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-6)
    assert rates[-1] == pytest.approx(final_fraction, abs=1e-6)


def test_constant_schedule_is_constant(jit):
    rates = scheduled(AdamW(warmup_fraction=0.5, final_fraction=0.0), 10, 15, jit)
    np.testing.assert_allclose(rates, np.ones(15), rtol=1e-6)


def test_theta_holds_what_may_differ_between_vmapped_trainings(train, jit):
    optimizer = PLAIN
    theta = optimizer.init(jax.random.key(0))
    assert {name: float(x) for name, x in theta.items()} == pytest.approx(
        {"learning_rate": 0.01, "b1": 0.9, "b2": 0.999, "weight_decay": 0.1}
    )

    def first(theta, gradient):
        transform = optimizer.transform(theta, STEPS, ONES)
        return transform.update(gradient, transform.init(PARAMS), PARAMS)[0]

    rates = jnp.array([0.01, 0.04])
    gradient = jax.tree.map(lambda g: g[0], GRADIENTS)
    swept = jit(jax.vmap(lambda rate: first(theta | {"learning_rate": rate}, gradient)))(rates)
    np.testing.assert_allclose(swept["kernel"][1], 4 * swept["kernel"][0], rtol=1e-6)
