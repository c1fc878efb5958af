"""Norms, convolutions and attention against JAX's and Flax's own; every layer's statistics at initialization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mulo.config import TransformerConfig
from mulo.errors import ConfigError
from mulo.models.attention import SelfAttention
from mulo.models.layers import Convolution, Dense, Norm, ParameterFactory
from mulo.parametrization import Parametrization, Role

KEY = jax.random.key(0)


def factory(name="mup", **options):
    return ParameterFactory(Parametrization(name, **options), nnx.Rngs(jax.random.key(1)))


def shaken(model, key=KEY):
    """The model with every parameter moved, so that none is 0 or 1 by its initialization."""
    state = nnx.state(model)
    leaves, treedef = jax.tree.flatten(state)
    keys = jax.random.split(key, len(leaves))
    moved = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    nnx.update(model, jax.tree.unflatten(treedef, moved))
    return model


@pytest.mark.parametrize("groups", [None, 2])
def test_norms_equal_flaxs(groups):
    own = shaken(Norm(factory(), 6, groups))
    rngs = nnx.Rngs(0)
    flaxs = (
        nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs) if groups is None else nnx.GroupNorm(6, 2, epsilon=1e-5, rngs=rngs)
    )
    flaxs.scale[...], flaxs.bias[...] = own.gain[...], own.bias[...]
    inputs = 3 + jax.random.normal(KEY, (4, 5, 3, 6))
    np.testing.assert_allclose(own(inputs), flaxs(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("length", "stride", "size"), [(8, 1, 3), (8, 2, 3), (7, 2, 3), (8, 2, 1), (5, 1, 5)])
def test_convolutions_equal_xlas(length, stride, size, jit):
    own = Convolution(factory(), 4, 6, size, Role.HIDDEN, stride)
    inputs, names = jax.random.normal(KEY, (3, length, length + 2, 4)), ("NHWC", "HWIO", "NHWC")

    def both(inputs):
        strides = (stride, stride)
        xlas = jax.lax.conv_general_dilated(inputs, own.kernel[...], strides, "SAME", dimension_numbers=names)
        return own(inputs), xlas

    np.testing.assert_allclose(*jit(both)(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("role", "update"), [(Role.INPUT, 1), (Role.HIDDEN, 1 / 64)])
def test_convolutions_start_with_the_variance_of_he_and_move_by_their_channels(role, update):
    kernel = Convolution(factory(), 64, 100, 3, role).kernel
    assert float(jnp.std(kernel[...])) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert float(Parametrization("mup").rule(kernel.role, kernel.fan_in, kernel.kernel_area).update) == update


@pytest.mark.parametrize(("name", "scale"), [("mup", 1 / 4), ("completep", 1 / 4), ("sp", 1 / 2)])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_jaxs_under_the_parametrizations_scale(name, scale, causal, jit):
    own = shaken(SelfAttention(TransformerConfig(heads=3), 12, factory(name), causal))
    inputs = jax.random.normal(KEY, (2, 5, 12))

    def heads(dense):
        return dense(inputs).reshape(2, 5, 3, 4)

    def both():
        projected = heads(own.query), heads(own.key), heads(own.value)
        mixed = jax.nn.dot_product_attention(*projected, scale=scale, is_causal=causal)
        *_, last = own.layers(inputs, "block")
        return last.preactivation, own.out(mixed.reshape(2, 5, 12))

    np.testing.assert_allclose(*jit(both)(), rtol=1e-4, atol=1e-5)


def test_heads_and_width_are_independent():
    own = SelfAttention(TransformerConfig(heads=3, head_size=5), 8, factory(), causal=True)
    assert own.query.kernel.shape == (8, 15)
    assert own.out.kernel.shape == (15, 8)
    assert own.out.kernel.fan_in == 15
    assert own.scale == 1 / 5
    with pytest.raises(ConfigError, match=r"task\.heads=3 .* a divisor of the width 8"):
        SelfAttention(TransformerConfig(heads=3), 8, factory(), causal=True)


def test_queries_may_start_at_zero():
    own = SelfAttention(TransformerConfig(heads=2, query_init="zeros"), 8, factory(), causal=True)
    assert not np.any(own.query.kernel[...])
    assert np.all(np.any(own.key.kernel[...], axis=0))


def test_embeddings_have_the_std_they_are_given():
    drawn = factory("sp", embedding_std=0.02).parameter((300, 50), Role.EMBEDDING, 300)
    assert float(jnp.std(drawn[...])) == pytest.approx(0.02, rel=0.02)


def test_dense_works_on_the_last_axis():
    own = shaken(Dense(factory(), 4, 3, Role.HIDDEN))
    inputs = jax.random.normal(KEY, (2, 5, 4))
    np.testing.assert_allclose(own(inputs)[1, 2], own(inputs[1, 2]), rtol=1e-5)
