"""Parameters that are no float array with entries, and arguments that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.errors import ArgumentError, MultiplierError
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO
from mulo.sharding import Shard
from mulo.types import Multiplier

VELO = VeLO(hidden_size=2, lstm_hidden_size=3, param_inits=2)
CONFIGS = [SmallFC(hidden_size=2), VELO, Celo2(hidden_size=2), AdamW()]
W = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(params=CONFIGS, ids=lambda config: config.architecture)
def make(request):
    """The optimizer as a function of its multipliers."""
    optimizer = request.param
    theta = optimizer.init(jax.random.key(0))
    return lambda multipliers, num_steps=10: optimizer.transform(theta, num_steps, multipliers)


def moved(transform, params, gradients=None, steps=2):
    state = transform.init(params)
    update = jax.jit(lambda state: transform.update(params if gradients is None else gradients, state, params, value=1))
    for _ in range(steps):
        updates, state = update(state)
    return updates


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-9)


def test_arrays_without_entries_change_nothing_for_others(make):
    params = {"a": np.zeros((0, 3), np.float32), "w": W, "z": np.zeros(0, np.float32)}
    updates = moved(make({"w": 0.5}), params)
    close(updates["w"], moved(make({"w": 0.5}), {"w": W})["w"])
    assert [updates[name].shape for name in "az"] == [(0, 3), (0,)]


def test_nothing_but_arrays_without_entries_is_left_as_it_is(make):
    params = {"a": np.zeros((0, 3), np.float32)}
    assert moved(make({}), params)["a"].shape == (0, 3)


def test_a_complex_parameter_moves_as_its_two_parts_do(make):
    parts = {"z": {"imaginary": W[::-1].copy(), "real": W}}
    expected = moved(
        make({"z/imaginary": 0.5, "z/real": 0.5}), {"z": {k: parts["z"][k] for k in ("real", "imaginary")}}
    )
    updates = moved(make({"z": 0.5}), {"z": W + 1j * W[::-1]})["z"]
    assert updates.dtype == jnp.complex64
    close(updates.real, expected["z"]["real"])
    close(updates.imag, expected["z"]["imaginary"])


def test_numbers_are_parameters_as_arrays_are(make):
    multipliers = {"number": 1.0, "numpy": 1.0, "w": 1.0}
    updates = moved(make(multipliers), {"number": 2.0, "numpy": np.float32(-3), "w": W})
    arrays = {"number": jnp.float32(2), "numpy": jnp.float32(-3), "w": jnp.asarray(W)}
    expected = moved(make(multipliers), arrays)
    for name in multipliers:
        close(updates[name], expected[name])
    assert any(np.any(np.asarray(u) != 0) for u in jax.tree.leaves(updates))


def test_whole_numbers_are_refused_by_name(make):
    with pytest.raises(ArgumentError, match=r"layer/count is int32, .* floating-point parameters only.*optax\.masked"):
        make({"layer/count": 1.0}).init({"layer": {"count": np.int32([1, 2])}})


@pytest.mark.parametrize("num_steps", [0, -5, 0.5, float("nan"), float("inf"), np.int32(0)])
def test_a_training_of_no_steps_is_refused(make, num_steps):
    with pytest.raises(ArgumentError, match=r"num_steps=.* is not possible for .*≥ 1"):
        make({"w": 1.0}, num_steps)


def test_several_lengths_at_once_are_refused(make):
    with pytest.raises(ArgumentError, match=r"num_steps=\[10 20\]"):
        make({"w": 1.0}, np.array([10, 20]))


@pytest.mark.parametrize("loss", [np.ones(4, np.float32), np.ones((1, 1), np.float32), 1j])
def test_a_loss_that_is_not_one_real_number_is_refused(make, loss):
    transform = make({"w": 1.0})
    with pytest.raises(ArgumentError, match=r"`value` has shape .* needs the loss as one real number"):
        transform.update({"w": W}, transform.init({"w": W}), {"w": W}, value=loss)


def test_multipliers_made_for_another_shape_are_refused_by_name(make):
    transform = make({"b": 1.0, "w": Multiplier(0.5, shape=(3, 2))})
    transform.init({"b": np.ones(7, np.float32), "w": W})
    with pytest.raises(MultiplierError, match=r"w is \[6, 4\] here, and its multiplier was made for \[3, 2\]"):
        transform.init({"b": np.ones(7, np.float32), "w": np.ones((6, 4), np.float32)})


def test_inside_shard_map_the_whole_counts(make):
    """One device is a mesh too: an axis of length 1, on which every part is the whole."""
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    transform = make({"w": Multiplier(0.5, shape=(3, 2))})
    spec = jax.sharding.PartitionSpec()

    def step(shards):
        def local(w):
            state = transform.init({"w": w})
            return transform.update({"w": w}, state, {"w": w}, value=1.0, shards=shards)[0]["w"]

        return jax.eval_shape(jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False), W)

    assert step({"w": Shard()}).shape == (3, 2)
    with pytest.raises(MultiplierError, match=r"w is \[3, 4\] here"):
        step({"w": Shard(-1, 4)})


@pytest.mark.parametrize("config", [SmallFC(hidden_size=9), VELO], ids=lambda config: config.architecture)
def test_updates_can_be_differentiated(config, jit):
    """By parameters and θ, against central differences in double steps."""
    optimizer = config
    theta = optimizer.init(jax.random.key(0))
    params = {"w": jnp.asarray(W)}
    transform = optimizer.transform(theta, 10, {"w": 1.0})
    _, state = jit(lambda state: transform.update(params, state, params, value=1.0))(transform.init(params))

    def after(scale):
        own = optimizer.transform(jax.tree.map(lambda x: scale[0] * x, theta), 10, {"w": 1.0})
        updates, _ = own.update(jax.tree.map(lambda p: scale[1] * p, params), state, params, value=1.0)
        return 1e3 * jnp.sum(updates["w"] * W)

    at, h = jnp.array([1.0, 0.9]), 1e-2
    value = jit(after)
    differences = [(value(at + h * e) - value(at - h * e)) / (2 * h) for e in jnp.eye(2)]
    np.testing.assert_allclose(jit(jax.grad(after))(at), differences, rtol=0.02, atol=2e-3)
    np.testing.assert_allclose(
        jit(lambda x: jax.jvp(after, (x,), (jnp.ones(2),))[1])(at), sum(differences), rtol=0.02, atol=4e-3
    )


def test_a_masked_parameter_may_be_of_any_kind(make):
    transform = optax.masked(make({"w": 1.0}), {"count": False, "w": True})
    params = {"count": np.int32([1]), "w": W}
    updates, _ = transform.update(params, transform.init(params), params, value=1.0)
    assert np.all(np.isfinite(updates["w"]))


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.architecture)
def test_a_gradient_of_zero_freezes_nothing_and_leaving_out_does(config):
    optimizer = config
    transform = optimizer.transform(optimizer.init(jax.random.key(0)), 10, {"a": 1.0, "b": 1.0})
    params, gradients = {"a": W, "b": W}, {"a": W, "b": np.zeros_like(W)}
    assert np.any(moved(transform, params, gradients)["b"])
    parts = {"learned": transform, "frozen": optax.set_to_zero()}
    left_out = optax.multi_transform(parts, {"a": "learned", "b": "frozen"})
    updates = moved(left_out, params, gradients)
    assert np.any(updates["a"])
    assert not np.any(updates["b"])
