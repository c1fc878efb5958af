"""The fast forms of the per-parameter MLP against the plain one: all features side by side, three matmuls."""

import jax.numpy as jnp
import numpy as np
import pytest

from mulo.optimizers import per_parameter_mlp
from mulo.optimizers.per_parameter_mlp import MLPWeights, Normalizer

SHAPES = [
    (),
    (1,),
    (7,),
    (1, 1),
    (6, 1),
    (1, 9),
    (6, 6),
    (40, 3),
    (3, 40),
    (2, 5, 4),
    (9, 1, 2),
    (3, 3, 4, 8),
    (8, 3, 2, 3),
    (2, 1, 3, 4, 2),
]
SCALES = (1e-4, 1.0, 3e3, 0.0, 1e-2, 10.0, 1.0)
"""Of the seven features, which are of different sizes by many decades, and one of them all zero."""
HIDDEN, OUTPUTS = 4, 2


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def mlp_of(rng, inputs):
    sizes = [(inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, OUTPUTS)]
    return MLPWeights(*(draw(rng, *shape) for size in sizes for shape in (size, size[1:])))


def features_of(rng, shape):
    """Two full features of 1 and 3 copies, and two that vary along all dimensions but one."""
    kinds = [(1, shape), (3, shape)]
    for axis in (0, len(shape) - 1):
        kinds.append((1 + axis % 2, tuple(1 if i == axis and len(shape) > 1 else n for i, n in enumerate(shape))))
    features = [draw(rng, copies, *size) for copies, size in kinds]
    scales = iter(SCALES)
    return [np.stack([plane * np.float32(next(scales)) for plane in feature]) for feature in features]


def plain(mlp, features, shape, normalizer):
    """[OUTPUTS, *shape] in double precision."""
    planes = [np.broadcast_to(plane, shape) for feature in features for plane in feature]
    inputs = np.stack(planes, axis=-1).astype(np.float64)
    axes = tuple(range(len(shape)) if normalizer.axes is None else (axis % len(shape) for axis in normalizer.axes))
    inputs = inputs / np.sqrt(normalizer.eps + np.mean(inputs**2, axis=axes, keepdims=True))
    hidden = np.maximum(inputs @ mlp.w0 + mlp.b0, 0)
    hidden = np.maximum(hidden @ mlp.w1 + mlp.b1, 0)
    return np.moveaxis(hidden @ mlp.w2 + mlp.b2, -1, 0)


def case(shape):
    rng = np.random.default_rng(SHAPES.index(shape))
    features = features_of(rng, shape)
    return mlp_of(rng, sum(map(len, features))), features


WHOLE_TENSOR = Normalizer(1e-5)
VARIANTS = {"whole tensor": WHOLE_TENSOR, "last two axes": Normalizer(1e-9, (-2, -1))}


def cases():
    for name, normalizer in VARIANTS.items():
        yield from ((shape, name) for shape in SHAPES if normalizer.axes is None or len(shape) >= 2)


@pytest.fixture(scope="module", params=["fused", "matrix", "tiles"])
def compiled(request, jit):
    """Every form over all shapes, each compiled as one program; the smallest tiles have 7 entries."""

    @jit
    def run(given):
        found = {}
        for (shape, name), (mlp, features) in given.items():
            found[shape, name] = [
                per_parameter_mlp.apply(
                    mlp,
                    lambda inputs: inputs,
                    features,
                    lambda *outputs, i=i: outputs[i],
                    VARIANTS[name],
                )
                for i in range(OUTPUTS)
            ]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_parameter_mlp, "FUSED_HIDDEN", HIDDEN if request.param == "fused" else HIDDEN - 1)
        if request.param == "tiles":
            patch.setattr(per_parameter_mlp, "TILE", 7)
        return run({key: case(key[0]) for key in cases()})


@pytest.mark.parametrize(("shape", "variant"), list(cases()), ids=str)
def test_equals_the_plain_form(compiled, shape, variant):
    outputs = compiled[shape, variant]
    expected = plain(*case(shape), shape, VARIANTS[variant])
    for out, reference in zip(outputs, expected, strict=True):
        assert out.shape == shape
        assert out.dtype == jnp.float32
        assert np.linalg.norm(out - reference) <= 1e-5 * np.linalg.norm(reference)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 0, 4)])
def test_a_tensor_without_entries_has_an_update_without_entries(shape):
    features = [np.zeros((3, *shape), np.float32)]
    mlp = mlp_of(np.random.default_rng(0), 3)
    assert (
        per_parameter_mlp.apply(mlp, lambda inputs: inputs, features, lambda first, _: first, WHOLE_TENSOR).shape
        == shape
    )


@pytest.mark.parametrize(("hidden", "form"), [(8, "_fused"), (9, "_matrix")])
def test_hidden_size_chooses_the_form(hidden, form, monkeypatch):
    chosen = []
    for name in ("_fused", "_matrix"):
        monkeypatch.setattr(
            per_parameter_mlp, name, lambda *given, name=name: chosen.append(name) or [jnp.zeros((4,))] * 2
        )
    rng = np.random.default_rng(0)
    mlp = MLPWeights(draw(rng, 1, hidden), *(draw(rng, hidden) for _ in range(5)))
    per_parameter_mlp.apply(mlp, lambda inputs: inputs, [draw(rng, 1, 4)], lambda first, _: first, WHOLE_TENSOR)
    assert chosen == [form]


def test_fresh_weights_have_the_sizes_of_three_layers():
    shapes = [weight.shape for weight in per_parameter_mlp.weights(39, 32, 2)]
    assert shapes == [(39, 32), (32,), (32, 32), (32,), (32, 2), (2,)]
    assert sum(int(np.prod(shape)) for shape in shapes) == 2402
    copies = per_parameter_mlp.weights(30, 4, 3, copies=(8,))
    assert [weight.shape[0] for weight in copies] == [8] * 6
    assert [weight.std for weight in copies[::2]] == [30**-0.5, 4**-0.5, 4**-0.5]
    assert [weight.std for weight in copies[1::2]] == [0.0] * 3
