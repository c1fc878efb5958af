"""Whether the multipliers found are those of µP: coordinate check, folded output, the published rules of `mup`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import mulo
from mulo.config import MLPConfig
from mulo.config.tasks import Size
from mulo.models.layers import ParameterFactory, run
from mulo.models.mlp import MLP
from mulo.optimizers import AdamW
from mulo.optimizers.transformation import transformation
from mulo.parametrization import Parametrization

INPUTS, CLASSES = 12, 10
WIDTHS = (64, 512)
STEPS = 5


class Own(nnx.Module):
    """A model that knows nothing of µP."""

    def __init__(self, width, rngs):
        self.input = nnx.Linear(INPUTS, width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.hidden = nnx.Linear(width, width, rngs=rngs)
        self.output = nnx.Linear(width, CLASSES, rngs=rngs)

    def preactivations(self, inputs):
        first = self.input(inputs)
        second = self.hidden(nnx.relu(self.norm(first)))
        return {"input": first, "hidden": second, "output": self.output(nnx.relu(second))}

    def __call__(self, inputs):
        return self.preactivations(inputs)["output"]


def table(width, **given):
    """Of `Own` at a width, and its split abstract model."""
    models = [nnx.eval_shape(lambda n=n: Own(n, nnx.Rngs(0))) for n in (width, 2 * width)]
    return mulo.parametrize(*models, **given), nnx.split(models[0])


def batch(size=32):
    rng = np.random.default_rng(0)
    return np.float32(rng.standard_normal((size, INPUTS))), rng.integers(0, CLASSES, size)


def train(forward, params, multipliers, learning_rate):
    """Params after steps of Adam on one batch."""
    chain = optax.chain(optax.scale_by_adam(eps=1e-20), optax.scale(-learning_rate))
    adam = transformation(chain, multipliers, AdamW())
    inputs, labels = batch()

    def loss(params):
        return optax.softmax_cross_entropy_with_integer_labels(forward(params, inputs), labels).mean()

    def step(carry, _):
        updates, state = adam.update(jax.grad(loss)(carry[0]), carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    return jax.lax.scan(step, (params, adam.init(params)), length=STEPS)[0][0]


def movements(width, parametrization, jit):
    """How far each layer's pre-activations move in training: standard deviation, for seeds side by side."""
    found, (graph, state) = table(width, parametrization=parametrization)

    def measure(key):
        params = found.initialize(state, key)
        after = train(lambda params, x: nnx.merge(graph, params)(x), params, found.multipliers, 0.01)
        before, after = (nnx.merge(graph, x).preactivations(batch()[0]) for x in (params, after))
        return jax.tree.map(lambda a, b: jnp.std(a - b), after, before)

    return jit(jax.vmap(measure))(jax.random.split(jax.random.key(1), 4))


def slopes(widths, parametrization, jit):
    """By layer: how the logarithm of its movement grows with that of the width."""
    moved = [movements(width, parametrization, jit) for width in widths]
    logs = {layer: [np.log(one[layer]).mean() for one in moved] for layer in moved[0]}
    return {layer: np.polyfit(np.log(widths), values, 1)[0] for layer, values in logs.items()}


def test_every_layer_of_a_users_own_model_moves_alike_at_every_width(jit):
    assert all(abs(slope) < 0.1 for slope in slopes(WIDTHS, "mup", jit).values())


def test_without_the_multipliers_it_does_not(jit):
    found = slopes(WIDTHS, "sp", jit)
    assert found["hidden"] > 0.4
    assert found["output"] > 0.4


def mulos_mlp(width, parametrization):
    def build():
        return MLP(MLPConfig(), Size(width, 2), (INPUTS,), CLASSES, ParameterFactory(parametrization, nnx.Rngs(0)))

    return nnx.split(nnx.jit(build)())


def plain_mlp(params, x):
    """The same network without forward multipliers."""
    for layer in ("input", "hidden_1"):
        x = jax.nn.relu(x @ params[layer]["kernel"] + params[layer]["bias"])
    return x @ params["output"]["kernel"] + params["output"]["bias"]


def test_a_folded_output_is_the_same_function_as_a_forward_multiplier(jit):
    parametrization = Parametrization("mup", output_init="normal")
    (graph, state), (_, wider) = (mulos_mlp(width, parametrization) for width in (32, 64))
    forward = {"/".join(path): parametrization.rule(v.role, v.fan_in).update for path, v in nnx.to_flat_state(state)}
    folded = mulo.parametrize(state, wider).multipliers
    params = nnx.to_pure_dict(state)
    params["output"]["kernel"] /= 32

    def mulos(params, x):
        return run(nnx.merge(graph, params), x)

    def trained(model, params, multipliers):
        return jit(lambda p: model(train(model, p, multipliers, 0.01), batch()[0]))(params)

    expected, start = trained(mulos, state, forward), plain_mlp(params, batch()[0])
    np.testing.assert_allclose(trained(plain_mlp, params, folded), expected, rtol=1e-3, atol=1e-4)
    assert np.max(np.abs(expected - start)) > 0.1


MUP = {
    # microsoft/mup at 0518b39: `MuAdam` divides the learning rate of parameters with two infinite dimensions by
    # width_mult = fan_in / base_fan_in and leaves all others; `MuReadout` divides its input by width_mult and keeps
    # an initial std that does not change with width, where PyTorch's other layers have one of 1/√fan_in.
    # path: power of width_mult in (learning rate, forward multiplier, initial std)
    "input/kernel": (0, 0, 0),
    "input/bias": (0, 0, None),
    "norm/scale": (0, 0, None),
    "norm/bias": (0, 0, None),
    "hidden/kernel": (-1, 0, -0.5),
    "hidden/bias": (0, 0, None),
    "output/kernel": (0, -1, 0),
    "output/bias": (0, 0, None),
}


@pytest.mark.parametrize("base", [1, 64])
def test_rules_are_those_of_the_mup_package(base):
    parametrization = Parametrization("mup", output_init="normal")
    width, mult = 256, 256 / base
    rows, of_base = (
        {row.path: row for row in table(n, parametrization=parametrization)[0].rows} for n in (width, base)
    )
    assert rows.keys() == MUP.keys()
    for path, (rate, forward, std) in MUP.items():
        # A forward multiplier that is folded scales std and, under Adam, updates (Yang et al. 2022, lemma J.1).
        assert float(rows[path].multiplier) / float(of_base[path].multiplier) == pytest.approx(mult ** (rate + forward))
        if std is not None:
            ratio = rows[path].rule.init_std / of_base[path].rule.init_std
            assert ratio == pytest.approx(mult ** (std + forward))
