"""Which dimensions are summed over: told by a bias, asked for by names that several conventions use, by readings."""

import math

import jax
import jax.numpy as jnp
import pytest

import mulo
from mulo.errors import RoleError


def of(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def found(make, path, **given):
    """(role, fan-in, window) of one parameter of a tree that is made for a width."""
    rows = mulo.parametrize(make(8), make(16), **given).rows
    return next(row[1:2] + row[4:6] for row in rows if row.path == path)


def error(make, **given):
    with pytest.raises(RoleError) as caught:
        mulo.parametrize(make(8), make(16), **given)
    return str(caught.value)


def layer(leaf, *sizes, bias=None, name="layer"):
    """A tree with one layer; a negative size grows with the width."""

    def shape(sizes, width):
        return of(*(-size * width if size < 0 else size for size in sizes))

    def make(width):
        beside = {} if bias is None else {"bias": shape(bias, width)}
        return {name: {leaf: shape(sizes, width)} | beside}

    return make


# As torch.nn keeps them: Linear [out, in], Conv2d [out, in, h, w], ConvTranspose2d [in, out, h, w].
TORCH = {
    "first layer": (layer("weight", -1, 6), "input", 6, 1),
    "last layer": (layer("weight", 6, -1), "output", 8, 1),
    "hidden layer": (layer("weight", -4, -1), "hidden", 8, 1),
    "first convolution": (layer("weight", -1, 3, 5, 5), "input", 3, 25),
    "hidden convolution": (layer("weight", -2, -1, 3, 3), "hidden", 8, 9),
    "last transposed convolution": (layer("weight", -1, 3, 2, 2), "output", 8, 4),
    "recurrence": (layer("weight_hh", -3, -1), "hidden", 8, 1),
}


@pytest.mark.parametrize("name", TORCH)
def test_the_orientation_of_a_weight_is_asked_for_and_every_answer_is_spelled_out(name):
    make, role, fan_in, window = TORCH[name]
    (leaf,) = make(8)["layer"]
    typed = f"it is {role}: fan_in={{'layer/{leaf}': {fan_in}}}"
    assert typed in error(make)
    assert found(make, f"layer/{leaf}", fan_in={f"layer/{leaf}": fan_in}) == (role, fan_in, window)


def test_a_kernel_whose_last_dimensions_are_the_window_is_asked_for():
    make = layer("kernel", -2, -1, 3, 3)
    assert "as [out, in, window, window] it is hidden: fan_in={'layer/kernel': 8}" in error(make)
    assert found(make, "layer/kernel", fan_in={"layer/kernel": 8}) == ("hidden", 8, 9)


def test_an_embedding_is_among_the_readings_of_a_weight():
    make = layer("weight", 50, -1, name="wte")
    assert "as [vocabulary, width] it is embedding: roles={'wte/weight': 'embedding'}" in error(make)
    assert found(make, "wte/weight", roles={"wte/weight": "embedding"}) == ("embedding", None, 1)


@pytest.mark.parametrize(("role", "fan_in"), [("input", 8), ("output", 8)])
def test_a_role_settles_what_a_fan_in_cannot(role, fan_in):
    make = layer("weight", 8, -1)
    typed = f"roles={{'layer/weight': '{role}'}}, fan_in={{'layer/weight': {fan_in}}}"
    assert f"it is {role}: {typed}" in error(make)
    assert found(make, "layer/weight", roles={"layer/weight": role}) == (role, fan_in, 1)


def test_the_same_in_every_reading_is_no_question():
    assert found(layer("weight", -1, -1), "layer/weight") == ("hidden", 8, 1)
    assert found(layer("kernel", 3, 3, -1, -1), "layer/kernel") == ("hidden", 8, 9)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (layer("weight", -1, 6, bias=(-1,)), ("input", 6, 1)),
        (layer("weight", 6, -1, bias=(-1,)), ("input", 6, 1)),
        (layer("weight", 6, -1, bias=(6,)), ("output", 8, 1)),
        (layer("weight", -4, -1, bias=(-4,)), ("hidden", 8, 1)),
        (layer("weight", -1, 3, 5, 5, bias=(-1,)), ("input", 3, 25)),
        (layer("weight", -1, 3, 2, 2, bias=(3,)), ("output", 8, 4)),
        (layer("weight", -2, -1, 3, 3, bias=(-2, 1, 1)), ("hidden", 8, 9)),  # as Equinox keeps it
        (layer("weight", 1, -1, bias=(1,)), ("output", 8, 1)),
        (layer("kernel", -1, 6, bias=(-1,)), ("input", 6, 1)),
        (layer("kernel", -1, 3, 5, 5, bias=(-1,)), ("input", 3, 25)),
        (layer("kernel", 2, 2, 3, -1, bias=(3,), name="image"), ("output", 8, 4)),  # transpose_kernel=True
        (layer("kernel", 5, 5, 3, -1, bias=(-1,), name="image"), ("input", 3, 25)),
        (layer("kernel", -1, 2, -4, bias=(2, -4), name="query"), ("hidden", 8, 1)),  # [in, heads, head size]
        (layer("kernel", 5, 6, -1, bias=(5, -1), name="stack"), ("input", 6, 1)),
    ],
)
def test_the_bias_beside_it_tells_what_is_not_summed_over(make, expected):
    (name,) = make(8)
    (leaf,) = make(8)[name].keys() - {"bias"}
    assert found(make, f"{name}/{leaf}") == expected


@pytest.mark.parametrize(
    ("sizes", "answers"),
    [
        ((2, 2, 3, -1), {"input": 3, "output": 8}),
        ((2, 2, -1, 3), {"output": 8, "input": 3}),
        ((2, 2, -1, -2), {"hidden": 8}),
        ((4, 3, -1), {"input": 3, "output": 8}),
    ],
)
@pytest.mark.parametrize(("leaf", "name"), [("kernel", "ConvTranspose_0"), ("kernel", "image"), ("w", "image")])
def test_kernels_that_may_be_transposed_are_asked_for(leaf, name, sizes, answers):
    make, path = layer(leaf, *sizes, name=name), f"{name}/{leaf}"
    said = error(lambda width: {"params": make(width)})
    for role, fan_in in answers.items():
        assert f"it is {role}: fan_in={{'{path}': {fan_in}}}" in said
        expected = (role, fan_in, math.prod(sizes[:-2]))
        assert found(make, path, fan_in={path: fan_in}) == expected


def test_the_kernel_of_a_stock_einsum_may_be_either_way_round():
    make = layer("kernel", 6, -1, name="Einsum_0")
    assert "it is output: fan_in={'Einsum_0/kernel': 8}" in error(make)
    assert "it is input: fan_in={'Einsum_0/kernel': 6}" in error(make)


@pytest.mark.parametrize(("leaf", "name"), [("kernel", "Conv_0"), ("kernel", "Conv_12"), ("w", "conv2_d_1")])
def test_stock_convolutions_are_known_by_their_default_names(leaf, name):
    assert found(layer(leaf, 2, 2, 3, -1, name=name), f"{name}/{leaf}") == ("input", 3, 4)


OUTPUTS = ["unembed", "unembedding", "lm_head", "head", "logits", "decoder", "readout", "out_embed", "embed_out"]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_matrix_that_is_named_as_an_output_is_one_where_its_shape_says_so(name):
    def make(width):
        return {name: of(width, 50), "h": of(width, width)}

    assert found(make, name) == ("output", 8, 1)


@pytest.mark.parametrize("name", [*OUTPUTS, "unembed/embedding"])
def test_where_its_shape_says_input_it_is_asked_for(name):
    def make(width):
        *parent, leaf = name.split("/")
        return {parent[0]: {leaf: of(50, width)}} if parent else {leaf: of(50, width)}

    said = error(make)
    assert f"it is output: fan_in={{'{name}': 8}}" in said
    assert f"it is embedding: roles={{'{name}': 'embedding'}}" in said
    assert found(make, name, fan_in={name: 8}) == ("output", 8, 1)
    assert found(make, name, roles={name: "output"}) == ("output", 8, 1)


@pytest.mark.parametrize("name", ["embed", "node_embed", "unembed"])
def test_an_embedding_of_which_the_vocabulary_grows_may_be_an_output(name):
    said = error(lambda width: {name: of(width, width)})
    assert "'output' for [width, vocabulary] that computes logits" in said


def test_names_that_only_look_like_outputs_are_embeddings():
    for name in ("node_embed", "code_embedding", "embedding", "embed"):
        assert found(lambda width, name=name: {name: of(50, width)}, name) == ("embedding", None, 1)


def test_a_layout_in_which_something_else_grows_than_a_width_is_refused():
    assert "a convolution's window or a stack of layers grows" in error(layer("weight", 3, -1, -1, -1))
