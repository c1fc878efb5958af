"""`initialize` keeps dtypes, layouts over devices and what starts at values of its own, and draws the rest."""

import contextlib
import re
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType

import mulo
from mulo.parametrization import Parametrization
from tests.command import python_on

KEY = jax.random.key(3)


def net(width, dtype=np.float32):
    """NumPy arrays; `dt/bias` and `late/scale` start at values of their own, one of them a constant."""
    return {
        "first": np.zeros((6, width), dtype),
        "dt": {"kernel": np.zeros((width, width), dtype), "bias": np.linspace(-4, -1, width).astype(dtype)},
        "norm": {"scale": np.ones(width, dtype), "bias": np.zeros(width, dtype)},
        "late": {"scale": np.zeros((2, width), dtype)},
        "last": {"kernel": np.zeros((width, 4), dtype), "bias": np.zeros(4, dtype)},
    }


def described(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


NORMAL = Parametrization("mup", bias_init="normal", output_init="normal")


def table(like=lambda tree: tree, **given):
    return mulo.parametrize(like(net(8)), described(net(16)), **given)


def flat(tree):
    return [np.float32(x) for x in jax.tree.leaves(tree)]


def strict():
    """All that JAX can be asked to refuse."""
    stack = contextlib.ExitStack()
    for context in (jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True)):
        stack.enter_context(context)
    return stack


FLAGS = {
    "x64": lambda: jax.enable_x64(True),
    "strict": strict,
    "auto mesh": lambda: jax.set_mesh(jax.make_mesh((1,), ("x",), (AxisType.Auto,))),
    "explicit mesh": lambda: jax.set_mesh(jax.make_mesh((1,), ("x",), (AxisType.Explicit,))),
}


def small(width, dtype=np.float32):
    return {"h": np.zeros((width, width), dtype), "bias": np.zeros(width, dtype), "scale": np.ones(width, dtype)}


@pytest.mark.parametrize("flag", FLAGS)
def test_draws_do_not_depend_on_what_jax_is_set_to(flag):
    expected = flat(mulo.parametrize(small(8), small(16), parametrization=NORMAL).initialize(small(8), KEY))
    with FLAGS[flag]():
        for dtype in [jnp.float32, *([np.float64, jnp.bfloat16] if flag == "x64" else [])]:
            params, other = (jax.tree.map(jnp.asarray, small(width, dtype)) for width in (8, 16))
            found = mulo.parametrize(params, other, parametrization=NORMAL).initialize(params, KEY)
            assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
            for a, b in zip(flat(found), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-6)


def test_numbers_drawn_are_those_of_float32_normals():
    draw = jax.random.normal(jax.random.fold_in(KEY, zlib.crc32(b"dt/kernel")), (8, 8), jnp.float32)
    np.testing.assert_allclose(table().initialize(net(8), KEY)["dt"]["kernel"], 8**-0.5 * draw, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_arrays_stay_numpy_arrays_of_their_dtype(dtype):
    for leaf in jax.tree.leaves(table().initialize(net(8, dtype), KEY)):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype == dtype


DEVICES = """
import jax, jax.numpy as jnp, numpy as np
import flax.linen as nn
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import mulo
from mulo.parametrization import Parametrization
from tests.roles.test_initialize import KEY, NORMAL, flat, small

devices = jax.devices()
mup = mulo.parametrize(small(8), small(16), parametrization=NORMAL)
alone = mup.initialize(small(8), KEY)

def check(name, found, params, values=True):
    before, after = jax.tree.leaves(params), jax.tree.leaves(found)
    assert [x.sharding for x in after] == [x.sharding for x in before], (name, after)
    assert [(x.dtype, x.committed) for x in after] == [(x.dtype, x.committed) for x in before], name
    for a, b in zip(flat(found), flat(alone)) if values else ():
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=name)

for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2, 2), ("x", "y"), (kind, kind))
    put = lambda x: jax.device_put(x, NamedSharding(mesh, P("x", "y") if x.ndim == 2 else P("y")))
    params = jax.tree.map(put, small(8))
    check(kind, mup.initialize(params, KEY), params)
    check(kind, jax.jit(mup.initialize)(params, KEY), params)
    check(kind, mup.initialize(params, jax.device_put(KEY, devices[3])), params)
    with jax.set_mesh(mesh):
        assert mulo.parametrize(params, small(16), parametrization=NORMAL) == mup
        check(kind, mup.initialize(params, KEY), params)
        check(kind, jax.jit(mup.initialize)(params, KEY), params)
        rows = nnx.with_partitioning(nnx.initializers.zeros, (None, "x"))
        make = lambda n: nnx.Linear(6, n, kernel_init=rows, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        model = make(8)
        state = nnx.state(model)
        assert model.kernel.sharding.spec == P(None, "x")
        mulo.parametrize(model, nnx.eval_shape(lambda: make(16))).initialize(model, KEY)
        check("nnx", nnx.state(model), state, values=False)
        assert np.std(np.float32(model.kernel)) > 0.2
    module = nn.Dense(8, kernel_init=nn.with_partitioning(nn.initializers.zeros, (None, "x")))
    init = lambda: module.init(jax.random.key(0), jnp.ones((1, 6)))
    boxed = jax.jit(init, out_shardings=nn.get_sharding(jax.eval_shape(init), mesh))()
    found = mulo.parametrize(boxed, nn.Dense(16), inputs=jnp.ones((1, 6))).initialize(boxed, KEY)
    check("linen", found, boxed, values=False)
    assert isinstance(found["params"]["kernel"], nn.Partitioned)

there = jax.device_put(small(8), devices[2])
check("committed", mup.initialize(there, KEY), there)
check("committed", jax.jit(mup.initialize)(there, KEY), there)
with jax.default_device(devices[1]):
    free = jax.tree.map(jnp.asarray, small(8))
check("free", mup.initialize(free, jax.device_put(KEY, devices[3])), free)
"""


def test_every_parameter_stays_where_it_is():
    python_on(4, "-c", DEVICES)


def test_vectors_with_values_of_their_own_are_kept_and_named():
    found = table()
    fresh = found.initialize(net(8), KEY)
    np.testing.assert_array_equal(fresh["dt"]["bias"], net(8)["dt"]["bias"])
    np.testing.assert_array_equal(fresh["late"]["scale"], 0)
    assert np.std(fresh["dt"]["kernel"]) == pytest.approx(8**-0.5, rel=0.3)
    (note,) = found.notes
    assert (
        "initialize keeps dt/bias (a bias, whose kind starts at 0), late/scale (a norm, whose kind starts at 1)" in note
    )
    assert "roles={'dt/bias': 'bias'}" in note
    cells = {line.split("│")[1].strip(): line.split("│")[6].strip() for line in str(found).splitlines() if "│" in line}
    assert cells == {
        "dt/bias": "as it is",
        "late/scale": "as it is",
        "norm/bias": "0",
        "norm/scale": "1",
        "last/bias": "0",
        "first": "std 0.408",
        "dt/kernel": "std 0.354",
        "last/kernel": "0",
    }


def test_the_user_may_have_them_set_or_keep_them_without_a_note():
    set_all = table(roles={"dt/bias": "bias", "late/scale": "norm"})
    fresh = set_all.initialize(net(8), KEY)
    np.testing.assert_array_equal(fresh["dt"]["bias"], 0)
    np.testing.assert_array_equal(fresh["late"]["scale"], 1)
    assert "initialize sets dt/bias, late/scale to the start of the given role" in " ".join(set_all.notes)
    fixed = table(roles=dict.fromkeys(("dt/bias", "late/scale"), "fixed"))
    np.testing.assert_array_equal(fixed.initialize(net(8), KEY)["dt"]["bias"], net(8)["dt"]["bias"])
    assert not fixed.notes


@pytest.mark.parametrize("parametrization", ["mup", NORMAL])
def test_a_table_that_saw_no_values_looks_at_those_it_initializes(parametrization, jit):
    found = table(described, parametrization=parametrization)
    assert not found.notes
    with pytest.warns(UserWarning, match=re.escape("initialize keeps dt/bias (a bias, whose kind starts at 0), late")):
        fresh = found.initialize(net(8), KEY)
    compiled = jit(found.initialize)(net(8), KEY)
    expected = table(parametrization=parametrization).initialize(net(8), KEY)
    for tree in (fresh, compiled):
        for a, b in zip(flat(tree), flat(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_shapes = found.initialize(described(net(8)), KEY)
    np.testing.assert_array_equal(of_shapes["late"]["scale"], 1)


def test_a_table_that_saw_values_starts_what_was_trained_since_anew():
    found = table()
    trained = jax.tree.map(lambda x: x + 7, net(8))
    fresh = found.initialize(trained, KEY)
    np.testing.assert_array_equal(fresh["norm"]["bias"], 0)
    np.testing.assert_array_equal(fresh["norm"]["scale"], 1)
    np.testing.assert_array_equal(fresh["dt"]["bias"], trained["dt"]["bias"])


class StateSpace(nnx.Module):
    def __init__(self, width):
        self.dt = nnx.Linear(
            width, width, rngs=nnx.Rngs(0), bias_init=lambda key, shape, dtype: jnp.arange(shape[0]) + 1.0
        )


def test_a_module_keeps_them_too():
    model = StateSpace(8)
    with pytest.warns(UserWarning, match=r"initialize keeps dt/bias"):
        mulo.parametrize(*(nnx.eval_shape(lambda n=n: StateSpace(n)) for n in (8, 16))).initialize(model, KEY)
    np.testing.assert_array_equal(model.dt.bias, np.arange(8) + 1)


def test_multipliers_carry_the_shape_that_they_are_for():
    found = table()
    shapes = {"/".join(str(key.key) for key in path): x.shape for path, x in jax.tree.leaves_with_path(net(8))}
    assert {path: found.multipliers[path].shape for path in shapes} == shapes
    assert {path: found.multipliers[f"params/{path}"].shape for path in shapes} == shapes
    completep = table(parametrization="completep", blocks=4).multipliers["dt/kernel"]
    assert (float(completep), completep.weight_decay, completep.epsilon) == (1 / 8, 8, 1 / 32)


def test_the_table_is_itself_the_mapping_of_its_multipliers():
    found = table()
    assert dict(found) == found.multipliers
    assert float(found["dt/kernel"]) == 1 / 8
    assert "unknown" not in found
