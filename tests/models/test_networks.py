"""Transformer, ViT and ResNet: what they compute, what their layers show, how CompleteP scales their branches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mulo.config import ResNetConfig, TransformerConfig, ViTConfig
from mulo.config.tasks import Size
from mulo.errors import ConfigError
from mulo.models.layers import ParameterFactory, run
from mulo.models.resnet import ResNet
from mulo.models.transformer import Transformer
from mulo.models.vit import ViT
from mulo.parametrization import Parametrization

KEY, LENGTH, VOCABULARY = jax.random.key(0), 6, 11


def factory(name, blocks=2):
    parametrization = Parametrization(name, output_init="normal", blocks=blocks)
    return ParameterFactory(parametrization, nnx.Rngs(jax.random.key(1)))


def transformer(name="mup", **options):
    config = TransformerConfig(**{"depth": 2, "heads": 2, **options})
    return Transformer(config, Size(8, config.depth), (LENGTH,), VOCABULARY, factory(name))


def tokens(key=KEY):
    return jax.random.randint(key, (3, LENGTH), 0, VOCABULARY)


def vit(name="mup", **options):
    config = ViTConfig(**{"depth": 2, "heads": 2, "patch": 2, **options})
    return ViT(config, Size(8, config.depth), (4, 6), 5, factory(name))


def images():
    return jax.random.normal(KEY, (3, 4, 6))


def resnet(name="mup", **options):
    config = ResNetConfig(**{"depth": 2, "stages": 2, "groups": 2, **options})
    return ResNet(config, Size(8, config.depth), (4, 6), 5, factory(name, config.blocks(config.depth)))


MODELS = {"transformer": (transformer, tokens), "vit": (vit, images), "resnet": (resnet, images)}


@pytest.fixture
def built(jit):
    """A network drawn in one program, and what it computes as another: operation by operation both take seconds."""

    def build(make, *arguments, **options):
        make = partial(make, *arguments, **options)
        graph, _ = nnx.split(nnx.eval_shape(make))
        return nnx.merge(graph, jit(lambda: nnx.state(make()))())

    return build


@pytest.fixture
def logits(jit):
    return lambda model, inputs: jit(partial(run, model))(inputs)


def test_no_position_of_a_transformer_sees_those_after_it(built, logits):
    model, inputs = built(transformer), tokens()
    changed = inputs.at[:, 4].set((inputs[:, 4] + 1) % VOCABULARY)
    before, after = logits(model, inputs), logits(model, changed)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.all(np.any(before[:, 4:] != after[:, 4:], axis=-1))


def test_positions_tell_places_apart(built, logits):
    same = jnp.zeros((1, LENGTH), jnp.int32)
    with_positions = logits(built(transformer), same)[0]
    without = logits(built(transformer, positions="none"), same)[0]
    np.testing.assert_allclose(without, without[:1].repeat(LENGTH, 0), rtol=1e-5, atol=1e-6)
    assert np.ptp(with_positions, axis=0).max() > 1e-3


def standardized(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def plain_transformer(params, inputs, branch, scale, heads=2):
    """The logits in double precision; norms are as initialized."""

    def dense(name, x):
        own = params
        for part in name.split("/"):
            own = own[part]
        return x @ np.asarray(own["kernel"], np.float64) + own["bias"]

    x = params["embedding"]["table"][inputs].astype(np.float64) + params["positions"]["table"]
    for block in ("block_1", "block_2"):
        normed = standardized(x)
        q, k, v = (
            dense(f"{block}/attention/{n}", normed).reshape(*x.shape[:2], heads, -1) for n in ("query", "key", "value")
        )
        logits = np.einsum("bthd,bshd->bhts", q, k) * scale
        weights = np.exp(logits) * np.tri(x.shape[1])
        mixed = np.einsum("bhts,bshd->bthd", weights / weights.sum(-1, keepdims=True), v).reshape(x.shape)
        x = x + branch * dense(f"{block}/attention/out", mixed)
        x = x + branch * dense(f"{block}/down", gelu(dense(f"{block}/up", standardized(x))))
    return standardized(x) @ params["output"]["kernel"]


@pytest.mark.parametrize(
    ("name", "branch", "scale", "forward"),
    [("sp", 1, 1 / 2, 1), ("mup", 1, 1 / 4, 1 / 8), ("completep", 1 / 2, 1 / 4, 1 / 8)],
)
def test_the_transformer_equals_a_plain_one(name, branch, scale, forward, built, logits):
    model = built(transformer, name)
    params = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    expected = forward * plain_transformer(params, np.asarray(tokens()), branch, scale)
    np.testing.assert_allclose(logits(model, tokens()), expected, rtol=1e-3, atol=1e-4)


def test_patches_are_the_images_squares(built):
    cut = built(vit)._patches(images()[..., None])
    assert cut.shape == (3, 6, 4)
    np.testing.assert_array_equal(cut[1, 4], np.asarray(images()[1, 2:4, 2:4]).ravel())


def test_the_vit_does_not_know_the_order_of_its_patches_without_positions(built, logits):
    swapped = jnp.concatenate([images()[:, 2:], images()[:, :2]], 1)
    models = [built(vit, positions=kind) for kind in ("none", "learned")]
    same, other = ([logits(model, x) for x in (images(), swapped)] for model in models)
    np.testing.assert_allclose(*same, rtol=1e-4, atol=1e-5)
    assert np.abs(other[0] - other[1]).max() > 1e-3


def test_each_stage_of_a_resnet_halves_the_image_and_doubles_the_channels():
    found = nnx.eval_shape(lambda: {layer.name: layer.preactivation for layer in resnet().layers(images())})
    shapes = {name: x.shape[1:] for name, x in found.items()}
    assert shapes["input"] == (4, 6, 8)
    assert shapes["stage_1_block_2/second"] == (4, 6, 8)
    assert shapes["stage_2_block_1/shortcut"] == shapes["stage_2_block_2/second"] == (2, 3, 16)
    assert "stage_1_block_1/shortcut" not in shapes


@pytest.mark.parametrize("family", MODELS)
def test_completep_divides_what_blocks_add_by_their_number(family, built, logits):
    """With a branch factor of 1/L and the rest equal, a network of many blocks is nearly one without any."""
    make, inputs = MODELS[family]
    distances = []
    for name in ("completep", "mup"):
        whole, without = built(make, name), built(make, name)
        for block in (part for part in vars(without) if "block" in part):
            getattr(without, block).branch = 0.0
        distances.append(jnp.linalg.norm(logits(whole, inputs()) - logits(without, inputs())))
    assert distances[0] < distances[1]


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("name", ["sp", "mup"])
def test_layers_show_what_the_network_computes(family, name, built, logits, jit):
    make, inputs = MODELS[family]
    model, names = built(make, name), []

    def seen(inputs):
        layers = list(model.layers(inputs))
        names.extend(layer.name for layer in layers)
        by_matrix = [(layer.linear(layer.inputs), layer.preactivation) for layer in layers if layer.linear is not None]
        return by_matrix, layers[-1].preactivation

    by_matrix, last = jit(seen)(inputs())
    np.testing.assert_allclose(last, logits(model, inputs()), rtol=1e-5, atol=1e-6)
    assert len(set(names)) == len(names)
    for linear, preactivation in by_matrix:
        # Biases are zero.
        np.testing.assert_allclose(linear, preactivation, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_matters(family, built, jit):
    make, inputs = MODELS[family]
    graph, state = nnx.split(built(make))

    def summed(state):
        return jnp.sum(jnp.sin(run(nnx.merge(graph, state), inputs())))

    gradients = jit(jax.grad(summed))(state)
    dead = ["/".join(path) for path, g in nnx.to_flat_state(gradients) if not np.any(np.abs(g[...]) > 1e-9)]
    # Attention does not change when all keys move alike.
    assert [path for path in dead if not path.endswith("key/bias")] == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vit(patch=4), r"task\.patch=4 .* height 4 and width 6"),
        (lambda: resnet(groups=3), r"task\.groups=3 .* divisor of the width 8"),
        (lambda: transformer(heads=3), r"task\.heads=3 .* divisor of the width 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
