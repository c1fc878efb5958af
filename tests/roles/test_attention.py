"""Attention that scales its logits by anything but 1/d_head is warned of, however it is wrapped."""

import functools
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import mulo


def net(width, function, heads=2):
    """Abstract attention of two heads unless told otherwise, and a layer before it."""
    attention = functools.partial(nnx.MultiHeadAttention, heads, width, decode=False, attention_fn=function)
    return nnx.eval_shape(lambda: nnx.Dict(a=attention(rngs=nnx.Rngs(0)), first=nnx.Linear(3, width, rngs=nnx.Rngs(0))))


def warnings_of(own, other=None, heads=2, **given):
    """What `parametrize` warns of, for attention functions at widths 8 and 16."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mulo.parametrize(net(8, own), net(16, other or own, heads), **given)
    return [str(warning.message) for warning in caught]


@functools.wraps(nnx.dot_product_attention)
def wrapped(*args, **options):
    return nnx.dot_product_attention(*args, **options)


def closure():
    stock = nnx.dot_product_attention
    return lambda query, key, value, **options: stock(query, key, value, precision=options["precision"])


def by_hand(query, key, value, **options):
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(query.shape[-1])
    mask = jnp.tril(jnp.ones(logits.shape[-2:], bool))
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(jnp.where(mask, logits, -1e9)), value)


def needs_a_mask():
    return lambda query, key, value, *, mask: nnx.dot_product_attention(query, key, value, mask=mask + 0)


WRONG = {
    "stock": nnx.dot_product_attention,
    "partial": functools.partial(nnx.dot_product_attention, precision="highest"),
    "partial of partial": functools.partial(functools.partial(nnx.dot_product_attention), precision="highest"),
    "wrapped": wrapped,
    "lambda": lambda *args, **options: nnx.dot_product_attention(*args, **options),
    "closure": closure(),
    "compiled": jax.jit(nnx.dot_product_attention),
    "Linen's": nn.dot_product_attention,
    "JAX's": jax.nn.dot_product_attention,
    "JAX's, causal": lambda q, k, v, **_: jax.nn.dot_product_attention(q, k, v, is_causal=True),
    "bfloat16": lambda q, k, v, **_: nnx.dot_product_attention(q, k, v, dtype=jnp.bfloat16),
    "by hand": by_hand,
    "stock for another backend": functools.partial(jax.nn.dot_product_attention, implementation="cudnn"),
    "stock that cannot be tried": functools.wraps(nnx.dot_product_attention)(needs_a_mask()),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_square_root_of_the_head_size_is_warned_of(name):
    (said,) = warnings_of(WRONG[name])
    assert "a: nnx.MultiHeadAttention scales its logits by 1/√d_head, and d_head grows" in said


def right(query, *args, **options):
    return nnx.dot_product_attention(query / query.shape[-1] ** 0.5, *args, **options)


RIGHT = {
    "docstring": right,
    "partial": functools.partial(right, precision="highest"),
    "of cosines": lambda q, k, v, **_: jax.nn.dot_product_attention(
        q / jnp.linalg.norm(q + 1e-9, axis=-1, keepdims=True),
        k / jnp.linalg.norm(k, axis=-1, keepdims=True),
        v,
        scale=5.0,
    ),
    "with a bias on places": lambda q, k, v, **_: jax.nn.dot_product_attention(
        q, k, v, bias=jnp.arange(4.0).reshape(1, 1, 2, 2), scale=1 / q.shape[-1]
    ),
    "for another backend": functools.partial(jax.nn.dot_product_attention, implementation="cudnn", scale=1 / 8),
    "that cannot be tried": needs_a_mask(),
}


@pytest.mark.parametrize("name", RIGHT)
def test_attention_in_mup_is_not(name):
    assert warnings_of(RIGHT[name]) == []


def test_a_scale_that_each_model_sets_for_itself_is_taken_as_it_is():
    def scaled(scale):
        return lambda q, k, v, **_: jax.nn.dot_product_attention(q, k, v, scale=scale)

    assert warnings_of(scaled(1 / 4), scaled(1 / 8)) == []
    (said,) = warnings_of(scaled(0.5), scaled(0.5))
    assert "scales its logits by d_head^0" in said


def test_what_jax_is_set_to_changes_nothing():
    mesh = jax.make_mesh((1,), ("x",), (jax.sharding.AxisType.Explicit,))
    with (
        jax.enable_x64(True),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        jax.set_mesh(mesh),
    ):
        assert len(warnings_of(nnx.dot_product_attention)) == 1
        assert warnings_of(right) == []


def test_heads_of_one_size_and_sp_need_nothing():
    assert warnings_of(nnx.dot_product_attention, heads=4) == []
    assert warnings_of(nnx.dot_product_attention, parametrization="sp") == []


class Linen(nn.Module):
    width: int
    function: object

    @nn.compact
    def __call__(self, x):
        return nn.MultiHeadDotProductAttention(2, attention_fn=self.function, name="a")(nn.Dense(self.width)(x))


@pytest.mark.parametrize(("function", "count"), [(nn.dot_product_attention, 1), (right, 0)])
def test_linens_attention_is_looked_at_where_modules_are_given(function, count):
    inputs = jax.ShapeDtypeStruct((1, 2, 3), jnp.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = mulo.parametrize(Linen(8, function), Linen(16, function), inputs=inputs)
    said = [str(warning.message) for warning in caught]
    assert len(said) == count
    assert all("a: linen.MultiHeadDotProductAttention scales its logits by 1/√d_head" in one for one in said)
    assert not any("attention" in note for note in found.notes)


@pytest.mark.parametrize(
    "tree",
    [
        lambda m: {"a": {"query": {"kernel": m, "bias": m[0]}, "key": {"kernel": m, "bias": m[0]}}},
        lambda m: {"a": {"wq": m, "wk": m}},
        lambda m: {"a": {"q_proj": {"w": m}, "k_proj": {"w": m}}},
    ],
)
def test_of_arrays_a_note_says_that_attention_cannot_be_seen(tree):
    found = mulo.parametrize(*(tree(jnp.zeros((width, width))) for width in (8, 16)))
    assert any(note.startswith("a: where heads grow, µP divides attention's logits by d_head") for note in found.notes)
    only = mulo.parametrize(*({"a": {"query": jnp.zeros((width, width))}} for width in (8, 16)))
    assert not any("attention" in note for note in only.notes)
