"""Under `scale_free` a gradient times any constant gives the same update."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from mulo.optimizers import Celo2, accumulators, celo2_rule, small_fc_rule, tensor_lstm, velo_rule
from mulo.sharding import WHOLE
from tests.optimizers.learned_steps import (
    MUP,
    PARAMS,
    SHAPES,
    SMALL_FC,
    SP,
    STEPS,
    VELO,
    distance,
    jit,
    normal,
    theta_of,
)
from tests.optimizers.learned_steps import updates as updates_of

MORE = {"gain": (), "stack": (2, 3, 4), "conv": (2, 2, 4, 3)}
STILL = {"still": (3, 4), "still_bias": (3,)}
"""Tensors whose gradient is 0 from the start."""
TREE = PARAMS | normal(3, 0.3, shapes=MORE | STILL)
SMALL = normal(2, 1e-3, STEPS, shapes=SHAPES | MORE) | normal(2, 0.0, STEPS, shapes=STILL)
"""Times 8 no entry reaches 0.1, at which VeLO and Celo2 clip one feature."""
CONFIGS = {
    "small_fc": (SMALL_FC, MUP),
    "velo": (VELO, MUP),
    "velo_sp": (replace(VELO, interp_mult=100.0, param_scale_mult=True), SP),
    "celo2": (Celo2(), MUP),
}
SCALES = (1 / 8, 1 / 1024, 1e-6, 8.0)
"""The first two are those of µP gradients at widths 8 and 1024."""
LARGE = (1e3, 1e6)


def scaled(factor):
    return {name: np.float32(factor) * g for name, g in SMALL.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_size_of_gradients_plays_no_role(name):
    config, multipliers = CONFIGS[name]
    table = multipliers | dict.fromkeys(MORE | STILL, 0.5)
    theta = theta_of(config)

    def run(scale_free, factor):
        optimizer = replace(config, scale_free=scale_free)
        return updates_of(optimizer, theta, scaled(factor), table, params=TREE)

    expected = run(True, 1.0)
    assert all(np.any(expected[key]) for key in SHAPES | MORE)
    for factor in (*SCALES, *(LARGE if name == "small_fc" else ())):
        found = run(True, factor)
        for key, wanted in expected.items():
            np.testing.assert_allclose(found[key], wanted, rtol=0, atol=2e-5 * np.max(np.abs(wanted)), err_msg=key)
    published, narrow = run(False, 1.0), run(False, 1 / 1024)
    assert max(distance(narrow[key], published[key]) for key in ("input", "hidden", "output", "conv", "stack")) > 0.05


RULES = {
    "small_fc": small_fc_rule.rule_of(SMALL_FC),
    "velo": velo_rule.rule_of(VELO),
    "celo2": celo2_rule.rule_of(Celo2()),
}
DECAYS = accumulators.Decays.of([0.9, 0.99, 0.999], [0.999], [0.9, 0.99, 0.999])
CLIPPED = 1
"""Index of VeLO's and Celo2's feature that is the gradient clipped at ±0.1."""


def features(rule, gradients, parameter, scale_free):
    state = accumulators.initial(parameter, DECAYS)
    for gradient in gradients:
        state = accumulators.update(state, gradient, DECAYS)
    given = accumulators.inputs(gradients[-1], parameter, state, scale_free=scale_free)
    return replace(rule, scale_free=scale_free).read(given)


@pytest.mark.parametrize("shape", [(), (5,), (4, 6), (2, 3, 4), (2, 2, 3, 4)], ids=str)
def test_features_are_the_published_ones_of_gradients_in_units_of_their_size(shape):
    """The unit by hand: the root mean square of all gradients so far, weighted by 0.001 · 0.999^age."""
    gradients = np.float32(0.01 * np.random.default_rng(0).standard_normal((STEPS, *shape)))
    weights = 0.001 * 0.999 ** np.arange(STEPS)[::-1]
    unit = np.sqrt(np.sum(weights * [np.mean(np.float64(g) ** 2) for g in gradients]))
    parameter = jnp.full(shape, 0.3)

    @jit
    def both(gradients, divided):
        of = {name: features(rule, gradients, parameter, True) for name, rule in RULES.items()}
        return of, {name: features(rule, divided, parameter, False) for name, rule in RULES.items()}

    found, expected = both(gradients, np.float32(gradients / unit))
    for name, planes in expected.items():
        for i, (actual, wanted) in enumerate(zip(found[name], planes, strict=True)):
            if name != "small_fc" and i == CLIPPED:
                wanted = gradients[-1:] / unit
            cancelled = 1e-6 * np.max(np.abs(wanted))
            np.testing.assert_allclose(actual, np.float32(wanted), rtol=3e-5, atol=cancelled, err_msg=f"{name} {i}")


def test_one_feature_of_velo_is_clipped_where_the_gradient_itself_is_0_1():
    gradient = np.float32([[0.05, 0.2], [-0.4, -0.01]])
    unit = np.sqrt(0.001 * np.mean(gradient**2))
    found = jit(lambda g: features(RULES["velo"], [g], g, True)[CLIPPED])(gradient)
    np.testing.assert_allclose(found[0], np.clip(gradient, -0.1, 0.1) / unit, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (4, 6)], ids=str)
def test_the_lstm_of_velo_sees_the_moments_of_gradients_in_units_of_their_size(shape):
    """Against its published inputs, of moments that were divided one by one."""
    gradient = np.float32(1e-4 * np.random.default_rng(0).standard_normal(shape))
    unit = np.sqrt(0.001 * np.mean(np.float64(gradient) ** 2))
    parameter = jnp.full(shape, 0.3)

    @jit
    def inputs(gradient, divided):
        def of(gradient, scale_free):
            state = accumulators.update(accumulators.initial(parameter, DECAYS), gradient, DECAYS)
            return tensor_lstm.inputs(jnp.zeros(18), [parameter], [state], [WHOLE], scale_free)

        return of(gradient, True), of(divided, False), of(gradient, False)

    found, expected, published = inputs(gradient, np.float32(gradient / unit))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.max(np.abs(published - expected)) > 1
