"""Flax NNX models: what modules say of their dimensions, names of parameters, optimizers, re-initialization."""

import dataclasses
import functools
import textwrap
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import mulo
from mulo import trees
from mulo.checkpoint import Loaded
from mulo.errors import RoleError
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO
from mulo.parametrization import Parametrization

OPTIMIZERS = {
    "small_fc": SmallFC(hidden_size=3),
    "velo": VeLO(hidden_size=3, lstm_hidden_size=3, param_inits=2, interp_mult=100.0, step_mult=1.0),
    "celo2": Celo2(),
    "mu_adam": AdamW(name="mu_adam", parametrization="mup"),
}


def of_the_docstring():
    """The attention_fn that users are told to copy."""
    lines = mulo.parametrize.__doc__.splitlines()
    start = next(i for i, line in enumerate(lines) if "def attention_fn" in line)
    scope = {"nnx": nnx}
    exec(textwrap.dedent("\n".join(lines[start : start + 2])), scope)
    return scope["attention_fn"]


attention_fn = of_the_docstring()


class Everything(nnx.Module):
    """One of each module that tells what its dimensions are."""

    def __init__(self, width, rngs, heads=2, attention=attention_fn):
        self.embed = nnx.Embed(7, width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            heads, width, 3 * width, decode=False, normalize_qk=True, attention_fn=attention, rngs=rngs
        )
        self.stack = nnx.vmap(lambda key: nnx.Linear(width, 2 * width, rngs=nnx.Rngs(key)))(
            jax.random.split(jax.random.key(0), 5)
        )
        self.layers = nnx.List([nnx.Conv(3, width, (3, 5), rngs=rngs), nnx.Conv(width, width, 4, rngs=rngs)])
        self.depthwise = nnx.Conv(width, width, (3, 3), feature_group_count=width, rngs=rngs)
        self.up = nnx.ConvTranspose(width, 3, (2, 2), transpose_kernel=True, rngs=rngs)
        self.mixer = nnx.Einsum("nta,hab->nthb", (2, width, 4), rngs=rngs)
        self.experts = nnx.LinearGeneral(width, 9, batch_axis={0: 6}, axis=-1, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)


EXPECTED = {
    "embed/embedding": ("embedding", None, 1),
    **{f"attention/{name}/kernel": ("hidden", 8, 1) for name in ("query", "key", "value")},
    **{f"attention/{name}/bias": ("bias", None, 1) for name in ("query", "key", "value", "out")},
    **{f"attention/{name}/scale": ("norm", None, 1) for name in ("query_ln", "key_ln")},
    "attention/out/kernel": ("hidden", 24, 1),
    "stack/kernel": ("hidden", 8, 1),
    "stack/bias": ("bias", None, 1),
    "layers/0/kernel": ("input", 3, 15),
    "layers/0/bias": ("bias", None, 1),
    "layers/1/kernel": ("hidden", 8, 4),
    "layers/1/bias": ("bias", None, 1),
    "depthwise/kernel": ("input", 1, 9),
    "depthwise/bias": ("bias", None, 1),
    "up/kernel": ("output", 8, 4),
    "up/bias": ("bias", None, 1),
    "mixer/kernel": ("output", 8, 1),
    "experts/kernel": ("output", 8, 1),
    "experts/bias": ("bias", None, 1),
    "norm/scale": ("norm", None, 1),
    "norm/bias": ("bias", None, 1),
}


@pytest.fixture(scope="module")
def everything():
    return [nnx.eval_shape(lambda w=width: Everything(w, nnx.Rngs(0))) for width in (8, 16)]


def test_modules_say_what_their_dimensions_are(everything):
    rows = mulo.parametrize(*everything).rows
    assert {row.path: (row.role, row.fan_in, row.window) for row in rows} == EXPECTED


def test_more_heads_are_the_same_growth(everything):
    more = nnx.eval_shape(lambda: Everything(16, nnx.Rngs(0), heads=4))
    rows = mulo.parametrize(
        everything[0], more, roles=dict.fromkeys(("attention/query_ln/scale", "attention/key_ln/scale"), "norm")
    ).rows
    assert {row.path: (row.role, row.fan_in, row.window) for row in rows} == EXPECTED


def test_a_window_that_grows_is_refused():
    own, other = (nnx.eval_shape(lambda n=n: nnx.Conv(n, n, (n, 3), rngs=nnx.Rngs(0))) for n in (4, 8))
    with pytest.raises(RoleError, match=r"kernel, .*a convolution's window or a stack of layers grows"):
        mulo.parametrize(own, other)


def test_stock_attention_with_growing_heads_is_warned_of():
    def models(heads):
        sizes = ((8, 2), (16, heads))
        return [
            nnx.eval_shape(lambda s=s: Everything(s[0], nnx.Rngs(0), s[1], nnx.dot_product_attention)) for s in sizes
        ]

    with pytest.warns(UserWarning, match="attention: nnx.MultiHeadAttention scales its logits by 1/√d_head"):
        mulo.parametrize(*models(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mulo.parametrize(*models(4))  # heads of the same size: 1/√d_head is a constant
        mulo.parametrize(*models(2), parametrization="sp")


class Net(nnx.Module):
    def __init__(self, width, rngs, dtype=jnp.float32):
        self.blocks = nnx.List([nnx.Linear(5, width, param_dtype=dtype, rngs=rngs)])
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.hidden = nnx.Linear(width, width, rngs=rngs)
        self.tilt = nnx.Param(jnp.full(width, 0.5))
        self.output = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, inputs):
        return self.output(self.tilt * nnx.relu(self.hidden(self.norm(self.blocks[0](inputs)))))


WIDE, GIVEN = 300, {"tilt": "fixed"}


@functools.cache
def initial(width):
    return nnx.split(nnx.jit(lambda: Net(width, nnx.Rngs(0)))())


def abstract(width):
    return nnx.eval_shape(lambda: Net(width, nnx.Rngs(0)))


def parametrized(width=WIDE, **given):
    model = nnx.merge(*jax.tree.map(jnp.copy, initial(width)))
    return model, mulo.parametrize(model, abstract(2 * width), roles=GIVEN, **given)


def table(width):
    return mulo.parametrize(abstract(width), abstract(2 * width), roles=GIVEN)


def test_state_pure_dictionary_and_what_nnx_optimizer_hands_on_have_the_tables_names():
    state = nnx.state(abstract(8), nnx.Param)
    names = [row.path for row in table(8).rows]
    assert trees.names(state) == trees.names(nnx.to_pure_dict(state)) == trees.names(nnx.as_pure(state)) == names
    assert {"blocks/0/kernel", "tilt", "norm/scale"} <= set(names)
    assert table(8) == mulo.parametrize(nnx.state(abstract(8)), nnx.state(abstract(16)), roles=GIVEN)


def test_an_attribute_called_value_keeps_its_name():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Attention:
        key: jax.Array
        value: jax.Array

    assert trees.names({"a": Attention(jnp.zeros(1), jnp.zeros(1))}) == ["a/key", "a/value"]


def trained_by_nnx(transform, losses):
    """The parameters of `Net` after updates through `nnx.Optimizer`, each by the cosine of the first ones."""

    def train():
        model = Net(8, nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, transform, wrt=nnx.Param)
        gradients = jax.tree.map(jnp.cos, nnx.state(model, nnx.Param))
        for loss in losses:
            optimizer.update(model, gradients, value=jnp.float32(loss))
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))

    return train


def trained_on_dictionaries(transform, losses):
    """The same by optax alone."""

    def train():
        params = nnx.to_pure_dict(nnx.state(Net(8, nnx.Rngs(0)), nnx.Param))
        gradients, state = jax.tree.map(jnp.cos, params), transform.init(params)
        for loss in losses:
            updates, state = transform.update(gradients, state, params, value=jnp.float32(loss))
            params = optax.apply_updates(params, updates)
        return params

    return train


def transform_of(config):
    optimizer = config
    return Loaded(optimizer, optimizer.init(jax.random.key(1)), None).transform(10, table(8))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learned_optimizers_run_in_nnx_optimizer(name):
    transform = transform_of(OPTIMIZERS[name])
    trained, expected = map(jax.eval_shape, (trained_by_nnx(transform, (2, 1)), trained_on_dictionaries(transform, ())))
    assert jax.tree.map(jnp.shape, trained) == jax.tree.map(jnp.shape, expected)


def test_nnx_optimizer_gives_what_optax_alone_gives(jit):
    transform, losses = transform_of(OPTIMIZERS["velo"]), (2, 1)
    found, expected, start = (
        jit(train)()
        for train in (
            trained_by_nnx(transform, losses),
            trained_on_dictionaries(transform, losses),
            trained_on_dictionaries(transform, ()),
        )
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected)
    assert all(np.any(a != b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(start), strict=True))


def flat(model):
    state = nnx.state(model, nnx.Param)
    return dict(zip(trees.names(state), jax.tree.leaves(state), strict=True))


STD = {  # of the parameters whose entries are drawn, µP with zero output and its choices, by the table's formulas
    "mup": {"blocks/0/kernel": 5**-0.5, "hidden/kernel": WIDE**-0.5, "output/kernel": 0},
    "sp": {"blocks/0/kernel": 5**-0.5, "hidden/kernel": WIDE**-0.5, "output/kernel": WIDE**-0.5},
    "normal": {"blocks/0/kernel": 5**-0.5, "hidden/kernel": WIDE**-0.5, "output/kernel": 1 / WIDE},
}
PARAMETRIZATIONS = {"mup": "mup", "sp": "sp", "normal": Parametrization("mup", output_init="normal")}


@pytest.mark.parametrize("name", STD)
def test_initialize_draws_by_the_table_and_leaves_what_is_fixed(name):
    model, found = parametrized(parametrization=PARAMETRIZATIONS[name])
    model.hidden.bias[...] = jnp.ones(WIDE)
    model.norm.mean[...] = jnp.full(WIDE, 7.0)
    assert found.initialize(model, jax.random.key(3)) is model
    measured = flat(model)
    for path, std in STD[name].items():
        assert np.std(measured[path]) == pytest.approx(std, rel=0.08)
    assert np.all(measured["tilt"] == 0.5)
    assert np.all(measured["hidden/bias"] == 0)
    assert np.all(measured["norm/scale"] == 1)
    assert np.all(model.norm.mean[...] == 7)


def test_initialize_of_states_and_pytrees_returns_new_ones_with_the_same_draws():
    model, found = parametrized()
    state, before = nnx.state(model), flat(model)
    params, key = nnx.to_pure_dict(nnx.state(model, nnx.Param)), jax.random.key(3)
    fresh, whole = found.initialize(params, key), found.initialize(state, key)
    assert trees.digest(flat(model)) == trees.digest(before)
    np.testing.assert_array_equal(whole["norm"]["mean"][...], 0)
    found.initialize(model, key)
    for path, (from_dict, from_state) in {
        "hidden/kernel": (fresh["hidden"]["kernel"], whole["hidden"]["kernel"][...]),
        "blocks/0/kernel": (fresh["blocks"][0]["kernel"], whole["blocks"][0]["kernel"][...]),
    }.items():
        np.testing.assert_array_equal(from_dict, from_state)
        np.testing.assert_array_equal(from_dict, flat(model)[path])
        assert not np.array_equal(from_dict, before[path])


def test_initialize_keeps_linens_other_collections_and_dtypes():
    def variables(width):
        return {
            "params": {"d": {"kernel": jnp.zeros((3, width), jnp.bfloat16)}},
            "batch_stats": {"d": {"kernel": jnp.full((3, width), 2.0)}},
        }

    fresh = mulo.parametrize(variables(8), variables(16)).initialize(variables(8), jax.random.key(0))
    assert fresh["params"]["d"]["kernel"].dtype == jnp.bfloat16
    assert np.std(np.float32(fresh["params"]["d"]["kernel"])) == pytest.approx(3**-0.5, rel=0.4)
    assert np.all(fresh["batch_stats"]["d"]["kernel"] == 2)


def test_initialize_refuses_another_model():
    with pytest.raises(RoleError, match="blocks/0/bias is 16 here and 8 in the table"):
        table(8).initialize(abstract(16), jax.random.key(0))
    with pytest.raises(RoleError, match="blocks/0/bias is missing here and 8 in the table"):
        table(8).initialize({"tilt": jnp.zeros(8)}, jax.random.key(0))


def test_the_table_in_print():
    lines = {line.split("│")[1].strip(): line for line in str(table(8)).splitlines() if "│" in line}
    cells = {path: [cell.strip() for cell in line.split("│")[2:-1]] for path, line in lines.items()}
    assert cells["hidden/kernel"] == ["hidden", "8 × 8", "16 × 16", "8", "std 0.354", "1/8"]
    assert cells["output/kernel"] == ["output", "8 × 3", "16 × 3", "8", "0", "1/8"]
    assert cells["tilt"] == ["fixed", "8", "16", "", "as it is", "1"]
    assert len(cells) == len(table(8).rows)


def shapes(**sizes):
    return {path: jax.ShapeDtypeStruct(size, jnp.float32) for path, size in sizes.items()}


@pytest.mark.parametrize(
    ("own", "other", "options", "note"),
    [
        (shapes(a=(8, 8)), shapes(a=(9, 9)), {}, "No parameter is an output"),
        (shapes(a=(8, 2), b=(8, 2)), shapes(a=(9, 2), b=(9, 2)), {}, "a, b all start at 0"),
        (shapes(a=(8, 2)), shapes(a=(9, 2)), {"parametrization": "completep", "blocks": 4}, "adds by 1/4"),
        (
            {"scale": np.zeros(8), "a": np.zeros((8, 2))},
            shapes(scale=(9,), a=(9, 2)),
            {},
            "initialize keeps scale (a norm",
        ),
        (shapes(a=(8, 2)), shapes(a=(9, 2)), {}, None),
        (shapes(a=(8, 8)), shapes(a=(9, 9)), {"parametrization": "sp"}, None),
    ],
)
def test_what_the_table_cannot_show_is_said(own, other, options, note):
    found = mulo.parametrize(own, other, **options)
    assert len(found.notes) == (note is not None)
    assert note is None or note in " ".join(str(found).split())
