"""Run by test_placement.py: a loaded θ and optimizers' state on two devices; prints a word per check."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import mulo
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO, with_state_dtype

THETA = "experiments/theta/small_fc_mup"


def check_loaded():
    """θ follows the default device, and works beside a mesh."""
    with jax.default_device(jax.devices()[1]):
        theta = mulo.load(THETA).theta
    assert {x.device for x in jax.tree.leaves(theta)} == {jax.devices()[1]}
    with jax.set_mesh(jax.make_mesh((2,), ("d",))):
        mulo.load(THETA).transform(10, {"w": 1.0}).init({"w": jnp.ones(4)})
    print("loaded")


def share(state, size):
    """The largest part of a moment of a tensor of this size that one device holds."""
    moments = [x for x in jax.tree.leaves(state) if x.size >= size]
    return max(part.data.size / x.size for x in moments for part in x.addressable_shards)


def check_state(config, kind, dtype):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(kind,))
    whole = {"b": np.ones(16, np.float32), "w": np.ones((8, 16), np.float32)}
    specs = {"b": PartitionSpec("d"), "w": PartitionSpec(None, "d")}
    optimizer = with_state_dtype(config, dtype)
    theta = optimizer.init(jax.random.key(0))
    transform = optimizer.transform(theta, 10, {"b": 1.0, "w": 1.0})
    expected, _ = jax.jit(lambda p: transform.update(p, transform.init(p), p, value=jnp.float32(1)))(whole)

    params = {name: jax.device_put(whole[name], NamedSharding(mesh, specs[name])) for name in whole}
    state = transform.init(params)
    assert share(state, 40) == 0.5, "at init"
    step = jax.jit(lambda p, s: transform.update(p, s, p, value=jnp.float32(1)))
    updates, state = step(params, state)
    for name in whole:
        np.testing.assert_allclose(updates[name], expected[name], rtol=1e-4, atol=1e-8)
        assert updates[name].sharding.is_equivalent_to(params[name].sharding, params[name].ndim)
    _, state = step(params, state)
    assert share(state, 40) == 0.5, "after two steps"
    assert step._cache_size() <= 2
    print("placed")


if __name__ == "__main__":
    check_loaded()
    velo = VeLO(hidden_size=2, lstm_hidden_size=3, param_inits=2)
    check_state(SmallFC(hidden_size=9), AxisType.Auto, "float32")
    check_state(SmallFC(hidden_size=2), AxisType.Explicit, "float32")
    check_state(velo, AxisType.Auto, "bfloat16")
    check_state(velo, AxisType.Explicit, "float32")
    check_state(Celo2(hidden_size=2, orthogonalize=True), AxisType.Explicit, "float32")
    check_state(AdamW(), AxisType.Auto, "float32")
