"""What holds for every optimizer: used like any optax transformation, alone and inside optax's wrappers.

`test_surroundings.py` runs this file under JAX's global flags and on meshes of two devices.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo import trees
from mulo.optimizers import AdamW, Celo2, Muon, ScheduleFree, SmallFC, VeLO
from mulo.types import Multiplier

from .surroundings import ROUNDING, placed, surroundings

SMALL_FC = SmallFC(hidden_size=9)
VELO = VeLO(hidden_size=9, lstm_hidden_size=3, param_inits=2)
OPTIONS = {
    "scale_free": True,
    "start": "adam",
    "step_sizes": True,
    "schedule": "warmup_stable_decay",
    "horizon_exponent": 0.5,
    "weight_decay": 0.1,
}
"""All that learned optimizers have in common, away from what was published."""
NORMALIZED = {"normalize_step": True}
CONFIGS = {
    "small_fc_sp": replace(SMALL_FC, parametrization="sp", step_mult=0.001, zero_non_finite=False),
    "small_fc_mup": SMALL_FC,
    "velo_sp": replace(VELO, parametrization="sp", interp_mult=100.0, param_scale_mult=True),
    "velo_mup": VELO,
    "celo2_sp": Celo2(parametrization="sp", weight_decay=0.1),
    "celo2_mup": Celo2(orthogonalize=True, schedule="warmup_cosine"),
    "small_fc_options": replace(SMALL_FC, time_features="relative", **OPTIONS, **NORMALIZED),
    "velo_options": replace(VELO, **OPTIONS, **NORMALIZED),
    "celo2_options": Celo2(orthogonalize=True, orthogonalize_only_hidden=True, time_features="relative", **OPTIONS),
    "adamw": AdamW(weight_decay=0.1, schedule="warmup_cosine"),
    "mu_adam": AdamW(name="mu_adam", parametrization="mup"),
    "nadamw": AdamW(nesterov=True, parametrization="mup"),
    "muon": Muon(weight_decay=0.1, schedule="warmup_cosine"),
    "schedule_free": ScheduleFree(learning_rate=0.05, weight_decay=0.1),
}
KERNEL = Multiplier(0.2, role="hidden", fan_in=3, axes="sio")
MUP = {"first/bias": Multiplier(1.0, role="bias"), "last/kernel": KERNEL}
SP = {"first/bias": MUP["first/bias"], "last/kernel": replace(KERNEL, update=1.0)}
NUM_STEPS = 20
LOSSES = (2.0, 1.5, 1.7, 1.2)


@dataclass(frozen=True)
class Subject:
    """One optimizer, its θ, and everything that a training of a few steps needs."""

    optimizer: Any
    theta: Any
    multipliers: dict[str, float]
    run: Any
    """Compiled: θ, num_steps, params, gradients [steps, ...], losses [steps] → (updates [steps, ...], last state)."""

    def transform(self, multipliers=None):
        return self.optimizer.transform(self.theta, NUM_STEPS, multipliers or self.multipliers)


def draw(seed, scale, steps=()):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return np.float32(scale * rng.standard_normal((*steps, *shape)))

    return {"first": {"bias": normal(4)}, "last": {"kernel": normal(2, 3, 5)}}


def stacked(one, other):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), one, other)


def unrolled(transform, params, gradients, losses):
    """Updates of every step, without applying them, by one scan: its carry must keep structure and dtypes."""

    def step(state, given):
        updates, state = transform.update(given[0], state, params, value=given[1])
        return state, updates

    state, updates = jax.lax.scan(step, transform.init(params), (gradients, losses))
    return updates, state


def theta_of(optimizer, key):
    """θ with every weight away from its often zero start."""
    theta = optimizer.init(key)
    if not optimizer.learned:
        return theta
    scale = 0.02 if isinstance(optimizer, SmallFC) else 0.2
    noise = trees.random_normal(jax.random.fold_in(key, 1), theta)
    return jax.tree.map(lambda x, e: x + scale * e, theta, noise)


def make(config, jit):
    optimizer = config
    multipliers = MUP if config.parametrization == "mup" else SP

    @jit
    def run(theta, num_steps, params, gradients, losses):
        return unrolled(optimizer.transform(theta, num_steps, multipliers), params, gradients, losses)

    theta = jit(functools.partial(theta_of, optimizer))(jax.random.key(0))
    return Subject(optimizer, theta, multipliers, run)


@pytest.fixture(scope="module", autouse=True)
def _surroundings():
    with surroundings():
        yield


@pytest.fixture(scope="module", params=CONFIGS)
def subject(request, jit):
    return make(CONFIGS[request.param], jit)


PARAMS = placed(draw(1, 0.3))
GRADIENTS = placed(draw(2, 0.1, (len(LOSSES),)), leading=1)
VALUES = np.array(LOSSES, np.float32)


@pytest.fixture(scope="module")
def plain(subject):
    """Updates of the optimizer by itself, and its last state."""
    return subject.run(subject.theta, NUM_STEPS, PARAMS, GRADIENTS, VALUES)


@pytest.fixture(scope="module")
def unroll(jit):
    """Updates [steps, ...] of a transform along given gradients and losses."""

    def run(transform, params=PARAMS, gradients=GRADIENTS, losses=VALUES):
        return jit(lambda *given: unrolled(transform, *given)[0])(params, gradients, losses)

    return run


@pytest.fixture(scope="module")
def static(subject, unroll):
    """As `plain`, with θ and num_steps compiled in: what a wrapped optimizer must agree with."""
    return unroll(subject.transform())


def close(actual, expected, rtol=ROUNDING):
    def check(a, e):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert np.linalg.norm(a - e) <= rtol * np.linalg.norm(e), (a, e)

    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(check, actual, expected)


def abstract(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def test_updates_are_shaped_like_parameters_and_not_zero(plain):
    updates, _ = plain
    assert abstract(updates) == jax.tree.map(lambda p: ((len(LOSSES), *p.shape), p.dtype), PARAMS)
    assert all(np.all(np.isfinite(u)) and np.any(u != 0) for u in jax.tree.leaves(updates))


def needs_loss(subject):
    return isinstance(subject.optimizer, VeLO)


def at(tree, step):
    return jax.tree.map(lambda x: x[step], tree)


def test_single_steps_equal_the_scan(subject, plain, jit):
    """The loss is left out where it plays no role."""
    transform = subject.transform()
    update = jit(lambda g, state, **extra: transform.update(g, state, PARAMS, **extra))
    state = transform.init(PARAMS)
    for step, loss in enumerate(LOSSES):
        extra = {"value": loss} if needs_loss(subject) else {}
        updates, state = update(at(GRADIENTS, step), state, **extra)
        close(updates, at(plain[0], step))
    close(state, plain[1])


def test_state_of_a_step_has_the_structure_and_dtypes_of_a_fresh_one(subject):
    transform = subject.transform()
    for dtype in (jnp.float32, jnp.bfloat16):
        params = jax.tree.map(lambda x, d=dtype: x.astype(d), PARAMS)
        fresh = jax.eval_shape(transform.init, params)
        _, stepped = jax.eval_shape(lambda s, p: transform.update(p, s, p, value=1.0), fresh, params)
        assert jax.tree.structure(stepped) == jax.tree.structure(fresh)
        assert abstract(stepped) == abstract(fresh)


def test_bfloat16_parameters_get_bfloat16_updates(subject, unroll):
    params, gradients = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (PARAMS, GRADIENTS))
    updates = unroll(subject.transform(), params, gradients)
    assert {u.dtype for u in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), (params, gradients))
    expected, _ = subject.run(subject.theta, NUM_STEPS, *wide, VALUES)
    close(updates, expected, rtol=2**-8)


def test_traced_theta_and_num_steps_equal_static_ones(static, plain):
    close(static, plain[0])


def test_chain(subject, static, unroll):
    updates = unroll(optax.chain(subject.transform(), optax.scale(0.5)))
    close(updates, jax.tree.map(lambda u: 0.5 * u, static))


def subtree(tree):
    return {"last": tree["last"]}


@pytest.fixture(scope="module")
def alone(subject, static, unroll):
    """Updates of one subtree with no other tensors about; only VeLO's LSTM would look at them."""
    if not needs_loss(subject):
        return subtree(static)
    return unroll(subject.transform(), subtree(PARAMS), subtree(GRADIENTS))


def test_masked(subject, alone, unroll):
    updates = unroll(optax.masked(subject.transform(), {"first": False, "last": True}))
    close(subtree(updates), alone)
    jax.tree.map(np.testing.assert_array_equal, updates["first"], GRADIENTS["first"])


def test_multi_transform(subject, alone, unroll):
    both = {"learned": subject.transform(), "sgd": optax.sgd(0.5)}
    updates = unroll(optax.multi_transform(both, {"first": "sgd", "last": "learned"}))
    close(subtree(updates), alone)
    close(updates["first"], jax.tree.map(lambda g: -0.5 * g, GRADIENTS["first"]))


def test_multi_steps(subject, unroll):
    """Two half batches count as one step with the mean gradient; optax hands on the loss of the last."""
    updates = unroll(optax.MultiSteps(subject.transform(), 2).gradient_transformation())
    halves = jax.tree.map(lambda g: g.reshape(2, 2, *g.shape[1:]).mean(1), GRADIENTS)
    means = jax.tree.map(lambda g: jnp.concatenate([g, g]), halves)
    expected, _ = subject.run(subject.theta, NUM_STEPS, PARAMS, means, jnp.tile(VALUES[1::2], 2))
    close(at(updates, slice(1, None, 2)), at(expected, slice(2)))
    assert not any(np.any(u) for u in jax.tree.leaves(at(updates, slice(0, None, 2))))


def test_multipliers_scale_their_own_update(subject, static, unroll):
    """Elementwise updates are scaled by them; orthogonalised ones of RMS 1 by their root, Muon's not at all."""
    root, none = getattr(subject.optimizer, "orthogonalize", False), isinstance(subject.optimizer, Muon)
    factors = {"first/bias": 0.5, "last/kernel": 0.25**2 if root else 0.25}
    scaled = {name: replace(c, update=factors[name] * float(c)) for name, c in subject.multipliers.items()}
    updates = unroll(subject.transform(multipliers=scaled))
    close(updates["first"]["bias"], 0.5 * static["first"]["bias"], rtol=1e-6)
    close(updates["last"]["kernel"], (1 if none else 0.25) * static["last"]["kernel"], rtol=2e-5)


def test_num_steps_matters_only_where_it_should(subject, plain):
    config = subject.optimizer
    updates, _ = subject.run(subject.theta, 1000, PARAMS, GRADIENTS, VALUES)
    same = all(map(np.array_equal, jax.tree.leaves(updates), jax.tree.leaves(plain[0])))
    scheduled = getattr(config, "schedule", "constant") != "constant" or isinstance(config, ScheduleFree)
    assert same != (scheduled or isinstance(config, VeLO))


def test_vmap_over_theta_num_steps_and_trainings(subject, plain, jit):
    other = jax.tree.map(lambda x: 0.9 * x, subject.theta)
    flipped = jax.tree.map(lambda g: -2 * g, GRADIENTS)
    both, _ = jit(jax.vmap(subject.run.__wrapped__))(
        stacked(subject.theta, other),
        jnp.array([NUM_STEPS, 50]),
        stacked(PARAMS, PARAMS),
        stacked(GRADIENTS, flipped),
        jnp.stack([VALUES, 3 * VALUES]),
    )
    close(at(both, 0), plain[0])
    second, _ = subject.run(other, 50, PARAMS, flipped, 3 * VALUES)
    close(at(both, 1), second)
