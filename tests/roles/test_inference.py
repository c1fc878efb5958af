"""Roles, fan-ins and windows, told from shapes: against models that name them and shapes whose roles are known."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import mulo
from mulo.config import EmbeddedDataConfig
from mulo.config.tasks import MLPConfig, ResNetConfig, ViTConfig
from mulo.data import load
from mulo.errors import ConfigError, RoleError
from mulo.parametrization import Parametrization
from mulo.tasks import make_tasks


def of(shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def found(own, other, **given):
    """(role, fan-in, window) of the one parameter of two trees of shapes, beside a hidden matrix."""
    pair = [{"p": of(shape), "hidden": of((n, n))} for shape, n in ((own, 8), (other, 16))]
    return next(row[1:2] + row[4:6] for row in mulo.parametrize(*pair, **given).rows if row.path == "p")


FAMILIES = {
    "mlp": MLPConfig(depth=3),
    "vit": ViTConfig(depth=1),
    "resnet": ResNetConfig(depth=1),
}


@pytest.mark.parametrize("widths", [(8, 24), (24, 8)])
@pytest.mark.parametrize("family", FAMILIES)
def test_mulos_own_networks_have_the_roles_that_they_name(family, widths):
    tasks = make_tasks(FAMILIES[family], "mup", load(EmbeddedDataConfig()), widths)
    models = [nnx.eval_shape(lambda task=task: task.build(nnx.Rngs(0))) for task in tasks]
    named = tasks[0].parameters
    tables = {path: "embedding" for path in named if path.endswith("table")}
    rows = {row.path: row for row in mulo.parametrize(*models, roles=tables).rows}
    assert rows.keys() == named.keys()
    for path, parameter in named.items():
        assert (rows[path].role, rows[path].window) == (parameter.role, parameter.kernel_area)
        if parameter.role in ("input", "hidden", "output"):
            assert rows[path].fan_in == parameter.fan_in


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ((8, 8), (16, 16), ("hidden", 8, 1)),
        ((8, 32), (16, 64), ("hidden", 8, 1)),
        ((784, 8), (784, 16), ("input", 784, 1)),
        ((8, 10), (16, 10), ("output", 8, 1)),
        ((3, 3, 8, 16), (3, 3, 16, 32), ("hidden", 8, 9)),
        ((5, 5, 3, 8), (5, 5, 3, 16), ("input", 3, 25)),
        ((1, 1, 8, 10), (1, 1, 16, 10), ("output", 8, 1)),
        ((7, 3, 8), (7, 3, 16), ("input", 3, 7)),
        ((3, 3, 10, 10), (3, 3, 10, 10), ("fixed", None, 1)),
        ((10,), (10,), ("fixed", None, 1)),
        ((), (), ("fixed", None, 1)),
    ],
)
def test_arrays_without_a_module_are_read_by_flaxs_conventions(own, other, expected):
    assert found(own, other) == expected


@pytest.mark.parametrize(
    ("own", "other", "fan_in", "expected"),
    [
        ((8, 2, 4), (16, 2, 8), 8, ("hidden", 8, 1)),  # query: [in, heads, head size]
        ((8, 2, 4), (16, 4, 4), 8, ("hidden", 8, 1)),
        ((2, 4, 12), (2, 8, 24), 8, ("hidden", 8, 1)),  # out: [heads, head size, out], their product is the fan-in
        ((6, 4, 4), (12, 8, 4), 24, ("output", 24, 1)),
        ((5, 8, 8), (5, 16, 16), 8, ("hidden", 8, 1)),  # five layers in a stack
        ((2, 4, 10), (2, 8, 10), 8, ("output", 8, 1)),
        ((7, 2, 4), (7, 4, 4), 7, ("input", 7, 1)),
    ],
)
def test_what_is_open_takes_its_fan_in(own, other, fan_in, expected):
    with pytest.raises(
        RoleError, match=rf"p, .* do not say which dimensions are summed over.*fan_in=\{{'p': {fan_in}\}}"
    ):
        found(own, other)
    assert found(own, other, fan_in={"p": fan_in}) == expected


def test_the_window_of_a_convolution_may_be_given_with_its_fan_in():
    given = {"fan_in": {"p": 8}, "window": {"p": 5}}
    assert found((5, 8, 8), (5, 16, 16), **given) == ("hidden", 8, 5)


def test_the_error_spells_out_every_reading_and_what_to_type_for_it():
    with pytest.raises(RoleError, match=re.escape("p, [2, 4, 12] and [2, 8, 24]")) as caught:
        found((2, 4, 12), (2, 8, 24))
    for reading in (
        "as [in, out, out] it is input: fan_in={'p': 2}",
        "as [in, in, out] it is hidden: fan_in={'p': 8}",
        "as [stack, in, out] it is hidden: fan_in={'p': 4}",
        "as [window, in, out] it is hidden: fan_in={'p': 4}, window={'p': 2}",
    ):
        assert reading in str(caught.value)


def test_roles_may_be_given():
    assert found((8, 8), (16, 16), roles={"p": "output"}) == ("output", 8, 1)
    assert found((8, 2, 4), (16, 2, 8), roles={"p": "input"}, fan_in={"p": 3}) == ("input", 3, 1)
    assert found((8,), (16,), roles={"p": "output"}, fan_in={"p": 8}) == ("output", 8, 1)
    assert found((8,), (16,), roles={"p": "fixed"}) == ("fixed", None, 1)
    with pytest.raises(RoleError, match=r"p, .* its role needs its fan-in"):
        found((8, 2, 4), (16, 2, 8), roles={"p": "hidden"})


VECTORS = {"bias": 0.0, "norm": 1.0}


@pytest.mark.parametrize("role", VECTORS)
@pytest.mark.parametrize("shape", [(1,), (1, 1, 1)])
def test_unnamed_vectors_are_known_by_their_initial_values(role, shape):
    def tree(width):
        return {"p": np.full((*shape[:-1], width), VECTORS[role]), "bias": np.zeros(width), "scale": of((width,))}

    roles = {row.path: row.role for row in mulo.parametrize(tree(8), tree(16)).rows}
    assert roles == {"p": role, "bias": "bias", "scale": "norm"}


@pytest.mark.parametrize("value", [np.full(8, 0.5), np.arange(8.0), of((8,))])
def test_unnamed_vectors_of_other_values_are_open(value):
    with pytest.raises(RoleError, match=r"p, \[8\] and \[16\]: a vector that grows, .* roles=\{'p': 'bias'\}"):
        mulo.parametrize({"p": value}, {"p": of((16,))})
    assert mulo.parametrize({"p": value}, {"p": of((16,))}, roles={"p": "norm"}).rows[0].role == "norm"


@pytest.mark.parametrize("leaf", ["embedding", "pos_embedding"])
def test_embeddings_are_known_by_name(leaf):
    assert mulo.parametrize({leaf: of((99, 8))}, {leaf: of((99, 16))}).rows[0].role == "embedding"
    with pytest.raises(RoleError, match=rf"{leaf}, .*an embedding of which more than the last dimension grows"):
        mulo.parametrize({leaf: of((8, 8))}, {leaf: of((16, 16))})


@pytest.mark.parametrize(
    ("own", "other", "message"),
    [
        ({"a": of((8,))}, {"b": of((8,))}, "Only one of the two models has a, b"),
        ({"a": of((8,)), "c": of((8, 8))}, {"a": of((8,)), "c": of((8, 8))}, r"all shapes are equal \(a, c\)"),
        ({"a": of((8, 1))}, {"a": of((16,))}, r"a, \[8, 1\] and \[16\]: the two models' ranks differ"),
        ({"a": of((8, 8))}, {"a": of((16, 4))}, r"a, \[8, 8\] and \[16, 4\]: .*some dimensions grow and some shrink"),
        (
            {"a": of((8, 1)), "b": of((8, 1))},
            {"a": of((16, 1)), "b": of((4, 1))},
            r"a, \[8, 1\] and \[16, 1\]; b, \[8, 1\] and \[4, 1\]: .*some dimensions grow and some shrink",
        ),
        ({"a": of((8, 0))}, {"a": of((16, 0))}, "a: a dimension has size 0"),
        ({}, {}, "The model has no parameters"),
    ],
)
def test_models_that_are_not_one_family_are_refused(own, other, message):
    with pytest.raises(RoleError, match=message):
        mulo.parametrize(own, other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"roles": {"q": "hidden"}}, "roles names q; the model has only hidden, p"),
        ({"fan_in": {"q": 3}}, "fan_in names q"),
        ({"window": {"q": 3}}, "window names q"),
        ({"roles": {"p": "hiden"}}, r"roles\['p'\]=hiden is invalid; expected one of input, embedding"),
        ({"fan_in": {"p": 0}}, "fan_in or window of p=0 is invalid"),
        ({"parametrization": "mu"}, "parametrization=mu is invalid"),
        ({"parametrization": "completep"}, "blocks=None is invalid"),
        ({"blocks": 3}, "blocks=3 is invalid"),
    ],
)
def test_settings_that_nothing_would_use_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        found((8, 8), (16, 16), **given)


@pytest.mark.parametrize("given", [{"fan_in": {"p": 8}}, {"window": {"p": 8}}])
def test_a_fan_in_or_window_where_there_is_none_is_refused(given):
    with pytest.raises(RoleError, match="it is a fixed, which has no fan-in or window"):
        found((8,), (8,), **given)


def test_a_fan_in_that_contradicts_the_convention_is_refused():
    with pytest.raises(RoleError, match="fan_in=784 does not settle its role"):
        found((8, 784), (16, 784), fan_in={"p": 784})


def test_the_parametrization_is_that_of_the_table():
    pair = [{"hidden": of((n, n)), "embedding": of((5, n)), "output": of((n, 3))} for n in (8, 16)]

    def rules(*args, **options):
        return {row.path: row.rule for row in mulo.parametrize(*pair, *args, **options).rows}

    updates = {path: float(rule.update) for path, rule in rules().items()}
    assert updates == {"hidden": 1 / 8, "embedding": 1, "output": 1 / 8}
    assert {float(rule.update) for rule in rules(parametrization="sp").values()} == {1}
    assert rules(parametrization="sp")["output"].init_std == pytest.approx(8**-0.5)
    completep = rules(parametrization="completep", blocks=4)["hidden"].update
    assert (float(completep), completep.weight_decay, completep.epsilon) == (1 / 8, 8, 1 / 32)
    chosen = rules(parametrization=Parametrization("mup", output_init="normal", embedding_std=0.02))
    assert (chosen["output"].init_std, chosen["embedding"].init_std) == (1 / 8, 0.02)


class Linen(nn.Module):
    width: int

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, self.width)(tokens)
        x = nn.BatchNorm(use_running_average=False)(nn.Dense(self.width)(x))
        return nn.Dense(3)(x)


def test_linens_variables_and_their_parameters_alone_have_the_same_table():
    own, other = (
        jax.eval_shape(Linen(width).init, jax.random.key(0), jax.ShapeDtypeStruct((2, 5), jnp.int32))
        for width in (8, 16)
    )
    whole = mulo.parametrize(own, other)
    assert whole == mulo.parametrize(own["params"], other["params"])
    assert {row.path: row.role for row in whole.rows} == {
        "Embed_0/embedding": "embedding",
        "Dense_0/kernel": "hidden",
        "Dense_0/bias": "bias",
        "BatchNorm_0/scale": "norm",
        "BatchNorm_0/bias": "bias",
        "Dense_1/kernel": "output",
        "Dense_1/bias": "bias",
    }
    assert whole.multipliers["params/Dense_0/kernel"] == whole.multipliers["Dense_0/kernel"]
    assert float(whole.multipliers["Dense_0/kernel"]) == 1 / 8
