"""Linen modules say what the dimensions of their kernels are, once `parametrize` is told what they are called with."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mulo
from mulo.errors import ConfigError, RoleError


class Layers(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(self.width, name="up", use_bias=False)(nn.Dense(2 * self.width, name="wide")(x)), None


class Everything(nn.Module):
    """One of each layer that tells what its dimensions are, without a bias that would tell."""

    width: int
    scanned_axis: int = 0

    @nn.compact
    def __call__(self, tokens, images, train):
        assert isinstance(train, bool)
        x = nn.Embed(7, self.width, name="embed")(tokens)
        attention = nn.MultiHeadDotProductAttention(
            2, qkv_features=3 * self.width, use_bias=False, attention_fn=lambda q, k, v: v, name="attention"
        )
        x = attention(x, deterministic=not train)
        axes = {"params": self.scanned_axis}
        scanned = nn.scan(Layers, variable_axes=axes, split_rngs={"params": True}, length=5)
        x, _ = scanned(self.width, name="stack")(x, None)
        x = nn.remat(nn.Dense)(self.width, name="remat", use_bias=False)(x)
        nn.Einsum((2, self.width, 4), "nta,hab->nthb", name="mixer", use_bias=False)(x)
        nn.Einsum((self.width, 4), name="late", use_bias=False)(x, "nta,ab->ntb")
        nn.DenseGeneral((3, 4), name="general", use_bias=False)(x)
        y = nn.Conv(self.width, (3, 5), name="image", use_bias=False)(images)
        y = nn.Conv(self.width, (3, 3), feature_group_count=self.width, name="depthwise", use_bias=False)(y)
        nn.ConvLocal(3, (3, 3), name="local", use_bias=False)(y)
        y = nn.jit(nn.Conv)(2 * self.width, (4,), name="words", use_bias=False)(y)
        return nn.ConvTranspose(3, (2, 2), transpose_kernel=True, name="up", use_bias=False)(y)


EXPECTED = {
    "embed/embedding": ("embedding", None, 1),
    **{f"attention/{name}/kernel": ("hidden", 8, 1) for name in ("query", "key", "value")},
    "attention/out/kernel": ("hidden", 24, 1),
    "stack/wide/kernel": ("hidden", 8, 1),
    "stack/wide/bias": ("bias", None, 1),
    "stack/up/kernel": ("hidden", 16, 1),
    "remat/kernel": ("hidden", 8, 1),
    "mixer/kernel": ("output", 8, 1),
    "late/kernel": ("output", 8, 1),
    "general/kernel": ("output", 8, 1),
    "image/kernel": ("input", 3, 15),
    "depthwise/kernel": ("input", 1, 9),
    "local/kernel": ("output", 72, 1),  # one matrix over 3·3·8 inputs for each place
    "words/kernel": ("hidden", 8, 4),
    "up/kernel": ("output", 16, 4),
}
INPUTS = jax.ShapeDtypeStruct((2, 5), jnp.int32), jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32), False


def read(found):
    return {row.path: (row.role, row.fan_in, row.window) for row in found.rows}


def test_modules_say_what_their_dimensions_are():
    assert read(mulo.parametrize(Everything(8), Everything(16), inputs=INPUTS)) == EXPECTED


def test_inputs_may_be_named():
    named = dict(zip(("tokens", "images", "train"), INPUTS, strict=True))
    assert read(mulo.parametrize(Everything(16), Everything(8), inputs=named))["up/kernel"] == ("output", 32, 4)


def test_a_stack_that_is_not_in_front_is_asked_for():
    models = [Everything(width, scanned_axis=1) for width in (8, 16)]
    with pytest.raises(RoleError, match=r"stack/.*/kernel, .* do not say which dimensions are summed over"):
        mulo.parametrize(*models, inputs=INPUTS)


class Decoder(nn.Module):
    """Its bias starts at values of its own."""

    width: int

    def setup(self):
        self.first = nn.Dense(self.width, bias_init=lambda key, shape, dtype: jnp.arange(shape[0], dtype=dtype))
        self.image = nn.ConvTranspose(3, (2, 2), transpose_kernel=True, use_bias=False)

    def __call__(self, x):
        return self.image(self.first(x))


IMAGES = jax.ShapeDtypeStruct((1, 2, 2, 5), jnp.float32)


def test_a_bound_module_shows_its_values_too(jit):
    variables = jit(Decoder(8).init)(jax.random.key(0), np.zeros(IMAGES.shape, np.float32))
    bound = mulo.parametrize(Decoder(8).bind(variables), Decoder(16), inputs=IMAGES)
    mixed = mulo.parametrize(variables, Decoder(16), inputs=IMAGES)
    free = mulo.parametrize(Decoder(8), Decoder(16), inputs=IMAGES)
    assert read(bound) == read(mixed) == read(free)
    assert read(bound)["image/kernel"] == ("output", 8, 4)
    assert any("first/bias" in note for note in bound.notes)
    assert not free.notes
    fresh = bound.initialize(variables, jax.random.key(1))["params"]
    np.testing.assert_array_equal(fresh["first"]["bias"], np.arange(8))
    assert np.std(fresh["first"]["kernel"]) == pytest.approx(5**-0.5, rel=0.4)
    with pytest.raises(RoleError, match=r"image/kernel, .* those of Linen with inputs="):
        mulo.parametrize(
            variables, jax.eval_shape(lambda: Decoder(16).init(jax.random.key(0), jnp.zeros(IMAGES.shape)))
        )


def test_a_users_own_linen_module_keeps_the_convention():
    class Own(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return x + self.param("kernel", nn.initializers.zeros, (3, 3, 4, self.width)).sum()

    found = mulo.parametrize(Own(8), Own(16), inputs=IMAGES)
    assert read(found)["kernel"] == ("input", 4, 9)


def test_what_is_missing_or_too_much_is_said():
    with pytest.raises(ConfigError, match=r"inputs=None is invalid.*inputs=jax.ShapeDtypeStruct"):
        mulo.parametrize(Decoder(8), Decoder(16))
    with pytest.raises(ConfigError, match="inputs are for Linen modules"):
        mulo.parametrize({"a": jnp.zeros((8, 8))}, {"a": jnp.zeros((9, 9))}, inputs=IMAGES)
    found = mulo.parametrize(Decoder(8), Decoder(16), inputs=IMAGES)
    with pytest.raises(RoleError, match="A Linen module has no parameters of its own: give its variables"):
        found.initialize(Decoder(8), jax.random.key(0))
