"""NAdamW, Muon and schedule-free AdamW against optax and optax.contrib, with the multipliers that µP gives them."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.errors import MultiplierError
from mulo.evaluation.rollout import rollout
from mulo.optimizers import AdamW, Muon, ScheduleFree
from mulo.tasks import make_tasks
from mulo.types import Multiplier

KEY, STEPS, RATE, DECAY = jax.random.key(0), 6, 0.02, 0.1
SHAPES = {"bias": (7,), "conv": (3, 3, 4, 6), "hidden": (6, 9), "input": (5, 6), "output": (9, 2), "stack": (2, 8, 4)}
PARAMS = {name: jax.random.normal(jax.random.fold_in(KEY, i), shape) for i, (name, shape) in enumerate(SHAPES.items())}
MUP = {
    "bias": Multiplier(1.0, role="bias"),
    "conv": Multiplier(1 / 4, role="hidden", fan_in=4, axes="wwio"),
    "hidden": Multiplier(1 / 6, role="hidden", fan_in=6, axes="io"),
    "input": Multiplier(1.0, role="input", fan_in=5, axes="io"),
    "output": Multiplier(1 / 9, role="output", fan_in=9, axes="io"),
    "stack": Multiplier(1 / 8, role="hidden", fan_in=8, axes="sio"),
}


def trained(transform):
    """Parameters after some steps under gradients of their own, and the state."""
    params, state, update = PARAMS, transform.init(PARAMS), jax.jit(transform.update)
    for step in range(STEPS):
        gradients = jax.tree.map(lambda p, s=step: jax.random.normal(jax.random.fold_in(KEY, s), p.shape), PARAMS)
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def ours(optimizer, multipliers=MUP):
    return optimizer.transform(optimizer.init(KEY), STEPS, multipliers)


def agree(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-6), one, other)


def test_nadamw_is_that_of_optax_at_each_parameters_rate():
    optimizer = AdamW(nesterov=True, parametrization="mup", learning_rate=RATE, weight_decay=DECAY)
    each = {name: optax.nadamw(RATE * float(c), weight_decay=DECAY) for name, c in MUP.items()}
    agree(trained(ours(optimizer))[0], trained(optax.multi_transform(each, {name: name for name in MUP}))[0])


def test_muon_is_that_of_optax_on_hidden_matrices_and_nadamw_on_the_rest():
    optimizer = Muon(learning_rate=RATE, weight_decay=DECAY, momentum=0.9, b2=0.99)
    dimensions = {
        **dict.fromkeys(("bias", "input", "output")),
        "conv": contrib.MuonDimensionNumbers((0, 1, 2), 3),
        "hidden": contrib.MuonDimensionNumbers(0, 1),
        "stack": contrib.MuonDimensionNumbers(1, 2),
    }
    theirs = contrib.muon(
        RATE,
        beta=0.9,
        weight_decay=DECAY,
        adam_weight_decay=DECAY,
        adam_b2=0.99,
        muon_weight_dimension_numbers=dimensions,
    )
    expected = trained(theirs)[0]
    found = trained(ours(optimizer, MUP | {"output": replace(MUP["output"], update=1.0)}))[0]
    agree(found, expected)


def test_muons_rates_follow_the_class_of_the_update():
    """µP's multipliers act on what Adam moves; an orthogonalised update needs none at any width."""
    factors = {name: Muon().factors(c, len(SHAPES[name]))[0] for name, c in MUP.items()}
    assert factors == {"bias": 1, "conv": 1, "hidden": 1, "input": 1, "output": 1 / 9, "stack": 1}


@pytest.mark.parametrize("setting", ["momentum", "adam_mult", "b1", "b2", "weight_decay", "learning_rate"])
def test_every_tunable_setting_of_muon_acts(setting):
    optimizer = Muon(learning_rate=RATE, weight_decay=DECAY)
    changed = optimizer.init(KEY) | {setting: jnp.float32(0.5)}
    one, other = trained(ours(optimizer))[0], trained(optimizer.transform(changed, STEPS, MUP))[0]
    assert any(not np.allclose(one[name], other[name], rtol=1e-3) for name in MUP)


def test_muon_asks_for_roles():
    with pytest.raises(MultiplierError, match=r"mulo\.parametrize"):
        ours(Muon(), dict.fromkeys(PARAMS, 1.0)).init(PARAMS)


def schedule_free():
    return ScheduleFree(learning_rate=RATE, weight_decay=DECAY, b1=0.8, b2=0.99, warmup_fraction=0.0)


def test_schedule_free_is_that_of_optax_with_the_multipliers_inside():
    each = {
        name: optax.chain(
            optax.scale_by_rms(0.99, eps_in_sqrt=False, bias_correction=True),
            optax.add_decayed_weights(DECAY),
            optax.scale(-RATE * float(c)),
        )
        for name, c in MUP.items()
    }
    base = optax.multi_transform(each, {name: name for name in MUP})
    theirs, their_state = trained(contrib.schedule_free(base, RATE, b1=0.8))
    own, own_state = trained(ours(schedule_free()))
    agree(own, theirs)
    averaged = contrib.schedule_free_eval_params(their_state, theirs)
    agree(schedule_free().evaluation_params(own_state, own), averaged)
    assert not np.allclose(own["hidden"], averaged["hidden"], atol=1e-3)


def test_its_rate_rises_once_and_stays():
    """With zero gradients z shrinks by rate · decay per step."""
    optimizer = replace(schedule_free(), warmup_fraction=0.5)
    transform, z = ours(optimizer), [PARAMS["hidden"]]
    state = transform.init(PARAMS)
    for _ in range(STEPS):
        _, state = transform.update(jax.tree.map(jnp.zeros_like, PARAMS), state, PARAMS)
        z.append(state.z["hidden"])
    rates = [float((before - after)[0, 0] / PARAMS["hidden"][0, 0]) for before, after in pairwise(z)]
    peak = RATE * DECAY / 6
    np.testing.assert_allclose(rates, np.array([1 / 3, 2 / 3, 1, 1, 1, 1]) * peak, rtol=1e-3)


@pytest.mark.slow
def test_evaluations_measure_the_averaged_parameters():
    task = make_tasks(MLPConfig(width=8, depth=1, batch_size=8), "mup", load(SyntheticDataConfig(shape=[3])))[0]
    optimizer = ScheduleFree(learning_rate=0.3, skip_non_finite=True)

    class Unaveraged(ScheduleFree):
        def evaluation_params(self, state, params):
            return params

    theta = optimizer.init(KEY)
    one, other = (
        rollout(task, each, theta, num_steps=20, seeds=2, key=KEY)
        for each in (optimizer, Unaveraged(learning_rate=0.3))
    )
    np.testing.assert_allclose(one.curve, other.curve, rtol=1e-5)
    assert not np.allclose(one.train_loss, other.train_loss, rtol=1e-3)
