"""The MLP optimizee against a plain NumPy one, and the roles and multipliers of its parameters."""

from math import erf

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mulo.config import MLPConfig
from mulo.config.tasks import Size
from mulo.models.layers import ParameterFactory, run
from mulo.models.mlp import MLP
from mulo.parametrization import Parametrization

WIDTH, SHAPE, CLASSES = 6, (2, 3), 4
EVERYTHING_DRAWN = {"bias_init": "normal", "output_init": "normal"}


def network(config, name="mup", key=0, **options):
    make = ParameterFactory(
        Parametrization(name, **options), nnx.Rngs(jax.random.key(key)), config.weight_init, config.scale_output_bias
    )
    return MLP(config, Size(WIDTH, config.depth), SHAPE, CLASSES, make)


def state(model):
    return {"/".join(path): variable for path, variable in nnx.to_flat_state(nnx.state(model))}


def arrays(model):
    return {name: np.asarray(variable[...], np.float64) for name, variable in state(model).items()}


def layer_names(depth):
    return ["input", *(f"hidden_{i}" for i in range(1, depth)), "output"]


def plain(params, inputs, depth, activation, output=1.0, output_bias=1.0):
    """Logits of the network in double precision, its last matrix and bias scaled by the given factors."""
    hidden = inputs.reshape(len(inputs), -1)
    for name in layer_names(depth)[:-1]:
        hidden = activation(hidden @ params[f"{name}/kernel"] + params[f"{name}/bias"])
    return output * (hidden @ params["output/kernel"]) + output_bias * params["output/bias"]


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).standard_normal((5, *SHAPE))


def relu(x):
    return np.maximum(x, 0)


def logits(model, inputs):
    return run(model, jnp.asarray(inputs, jnp.float32))


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_depth_counts_hidden_layers_and_one_matrix_more(depth):
    names = state(network(MLPConfig(depth=depth)))
    assert sorted(names) == sorted(f"{n}/{part}" for n in layer_names(depth) for part in ("kernel", "bias"))
    assert sum(name.endswith("kernel") for name in names) == depth + 1


def test_shapes():
    shapes = {name: array.shape for name, array in arrays(network(MLPConfig(depth=2))).items()}
    assert shapes == {
        "input/kernel": (6, WIDTH),
        "input/bias": (WIDTH,),
        "hidden_1/kernel": (WIDTH, WIDTH),
        "hidden_1/bias": (WIDTH,),
        "output/kernel": (WIDTH, CLASSES),
        "output/bias": (CLASSES,),
    }


def test_every_parameter_names_its_role_and_fan_in():
    roles = {name: (v.role, v.fan_in) for name, v in state(network(MLPConfig(depth=3))).items()}
    kernels = {name: given for name, given in roles.items() if name.endswith("kernel")}
    assert kernels == {
        "input/kernel": ("input", 6),
        "hidden_1/kernel": ("hidden", WIDTH),
        "hidden_2/kernel": ("hidden", WIDTH),
        "output/kernel": ("output", WIDTH),
    }
    assert {role for name, (role, _) in roles.items() if name.endswith("bias")} == {"bias"}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    ("name", "scale_output_bias", "output", "output_bias"),
    [
        ("sp", False, 1, 1),
        ("sp", True, 1, 1),
        ("mup", False, 1 / WIDTH, 1),
        ("mup", True, 1 / WIDTH, 1 / WIDTH),
    ],
)
def test_forward_equals_a_plain_network(depth, name, scale_output_bias, output, output_bias, inputs):
    model = network(MLPConfig(depth=depth, scale_output_bias=scale_output_bias), name, **EVERYTHING_DRAWN)
    params = arrays(model)
    params["output/bias"] += 1  # zero under SP, where a misplaced factor would not show
    model.output.bias[...] = jnp.asarray(params["output/bias"], jnp.float32)
    expected = plain(params, inputs, depth, relu, output, output_bias)
    np.testing.assert_allclose(logits(model, inputs), expected, rtol=1e-4, atol=1e-5)
    assert np.std(expected) > 0.01


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


@pytest.mark.parametrize(
    ("activation", "function", "tolerance"),
    # JAX's GELU is the tanh approximation, within 5e-4 of the exact one.
    [("relu", relu, 1e-5), ("tanh", np.tanh, 1e-5), ("gelu", gelu, 2e-3)],
)
def test_activation_acts(activation, function, tolerance, inputs):
    model = network(MLPConfig(activation=activation), "sp")
    expected = plain(arrays(model), inputs, 3, function)
    np.testing.assert_allclose(logits(model, inputs), expected, atol=tolerance)
    others = [f for f in (relu, np.tanh, gelu) if f is not function]
    assert all(np.max(np.abs(expected - plain(arrays(model), inputs, 3, f))) > 5 * tolerance for f in others)


def test_fresh_mup_network_answers_zero_and_options_change_that(inputs):
    assert not np.any(logits(network(MLPConfig()), inputs))
    drawn = network(MLPConfig(), output_init="normal")
    assert np.any(logits(drawn, inputs) != 0)
    assert not np.any(drawn.hidden_1.bias[...])


def test_bias_init_draws_every_bias():
    params = arrays(network(MLPConfig(), bias_init="normal"))
    assert all(np.all(array != 0) for name, array in params.items() if name.endswith("bias"))
    assert not np.any(params["output/kernel"])


def test_weight_init_chooses_the_distribution(jit):
    def hidden(distribution):
        config = MLPConfig(weight_init=distribution, depth=2)
        model = MLP(
            config,
            Size(100, config.depth),
            (1,),
            2,
            ParameterFactory(Parametrization("sp"), nnx.Rngs(jax.random.key(0)), distribution),
        )
        return model.hidden_1.kernel[...]

    cut, whole = jit(lambda: (hidden("truncated_normal"), hidden("normal")))()
    assert np.max(np.abs(cut)) <= 2 / np.sqrt(100) < np.max(np.abs(whole))


def test_layers_are_what_the_network_computes(inputs):
    model = network(MLPConfig(depth=2), **EVERYTHING_DRAWN)
    layers = list(model.layers(jnp.asarray(inputs, jnp.float32)))
    assert [layer.name for layer in layers] == ["input", "hidden_1", "output"]
    np.testing.assert_array_equal(layers[-1].preactivation, logits(model, inputs))
    params = arrays(model)
    for layer, forward in zip(layers, (1, 1, 1 / WIDTH), strict=True):
        product = np.asarray(layer.inputs, np.float64) @ params[f"{layer.name}/kernel"] * forward
        np.testing.assert_allclose(layer.linear(layer.inputs), product, rtol=1e-4, atol=1e-5)
        biased = product + params[f"{layer.name}/bias"]
        np.testing.assert_allclose(layer.preactivation, biased, rtol=1e-4, atol=1e-5)
