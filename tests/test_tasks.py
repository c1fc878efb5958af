"""A task as the rest of mulo sees it: pure functions of arrays, measured against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo import trees
from mulo.config import MLPConfig
from mulo.data.sources import in_memory
from mulo.errors import ConfigError
from mulo.tasks import make_tasks, supervised
from mulo.types import Task

WIDTH, CLASSES, TRAIN, TEST = 8, 3, 24, 7
CONFIG = MLPConfig(width=WIDTH, depth=2, batch_size=16, output_init="normal")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    labels = np.arange(TRAIN + TEST) % CLASSES
    pixels = rng.integers(0, 100, (TRAIN + TEST, 2, 2)) + 70 * labels[:, None, None]
    arrays = {"images": pixels.astype(np.uint8), "labels": labels.astype(np.uint8)}
    return {
        f"{split}_{name}": array[part]
        for name, array in arrays.items()
        for split, part in (("train", slice(TRAIN)), ("test", slice(TRAIN, None)))
    }


@pytest.fixture(scope="module")
def dataset(images):
    return in_memory("tiny", images)


@pytest.fixture(scope="module", params=["sp", "mup"])
def task(request, dataset):
    return make_tasks(CONFIG, request.param, dataset)[0]


@pytest.fixture(scope="module")
def init(task, jit):
    return jit(task.init)


@pytest.fixture(scope="module")
def params(init):
    return init(jax.random.key(0))


def logits(params, inputs, forward):
    hidden = inputs.reshape(len(inputs), -1).astype(np.float64)
    for name in ("input", "hidden_1"):
        hidden = np.maximum(hidden @ params[name]["kernel"] + params[name]["bias"], 0)
    return forward * (hidden @ np.asarray(params["output"]["kernel"], np.float64)) + params["output"]["bias"]


def losses(params, inputs, labels, forward):
    """Cross-entropy of every example in nats."""
    outputs = logits(params, inputs, forward)
    largest = outputs.max(1, keepdims=True)
    total = np.log(np.exp(outputs - largest).sum(1)) + largest[:, 0]
    return total - outputs[np.arange(len(labels)), labels]


def normalised(images, split):
    train = images["train_images"].astype(np.float64)
    return (images[f"{split}_images"] - train.mean()) / train.std()


def forward_of(task):
    return 1 / WIDTH if task.parametrization.name == "mup" else 1.0


def test_is_a_task_of_the_protocol(task):
    assert isinstance(task, Task)
    assert (task.name, task.width, task.depth) == ("mlp_w8_d2", WIDTH, 2)


def test_params_are_plain_arrays_by_path(params):
    assert trees.names(params) == sorted(
        f"{layer}/{part}" for layer in ("input", "hidden_1", "output") for part in ("kernel", "bias")
    )
    assert all(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_multipliers_are_those_of_the_table(task, params):
    hidden = 1 / WIDTH if task.parametrization.name == "mup" else 1.0
    expected = {name: hidden if name == "hidden_1/kernel" else 1.0 for name in trees.names(params)}
    assert {name: float(multiplier) for name, multiplier in task.multipliers.items()} == expected


def test_loss_is_the_mean_cross_entropy(task, params, dataset, jit):
    inputs, labels = batch = task.sample(dataset.arrays, jax.random.key(5))
    assert (len(labels), inputs.shape) == (16, (16, 2, 2))
    expected = losses(params, np.asarray(inputs), np.asarray(labels), forward_of(task)).mean()
    np.testing.assert_allclose(jit(task.loss)(params, batch), expected, rtol=1e-5)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("chunk_floats", [4_000_000, 6 * WIDTH, 1])
def test_full_loss_is_the_mean_over_all_examples(task, params, images, split, chunk_floats, monkeypatch, jit):
    """In one chunk, in chunks of up to six examples, and one by one; the seven test examples have no other divisor."""
    monkeypatch.setattr(supervised, "_CHUNK_FLOATS", chunk_floats)
    measured = jit(task.full_loss, static_argnums=2)(params, task.data, split)
    expected = losses(params, normalised(images, split), images[f"{split}_labels"], forward_of(task)).mean()
    np.testing.assert_allclose(measured, expected, rtol=1e-5)


def test_full_loss_keeps_to_the_first_examples(task, params, images, monkeypatch, jit):
    monkeypatch.setattr(supervised, "FULL_LOSS_EXAMPLES", 10)
    measured = jit(lambda p: task.full_loss(p, task.data, "train"))(params)
    expected = losses(params, normalised(images, "train"), images["train_labels"], forward_of(task))
    np.testing.assert_allclose(measured, expected[:10].mean(), rtol=1e-5)
    assert abs(expected[:10].mean() - expected.mean()) > 1e-3


def test_gradient_steps_reduce_the_loss(task, params, jit):
    step = jit(
        lambda p: jax.tree.map(lambda x, g: x - 0.02 * g, p, jax.grad(task.full_loss)(p, task.data, "train")),
    )
    evaluate = jit(lambda p: task.full_loss(p, task.data, "train"))
    moved = step(step(params))
    assert evaluate(moved) < evaluate(step(params)) < evaluate(params)


def test_every_parameter_matters(task, params, jit):
    gradients = jit(lambda p: jax.grad(task.full_loss)(p, task.data, "train"))(params)
    assert all(np.any(g != 0) for g in jax.tree.leaves(gradients))


def test_init_is_decided_by_its_key(init, params):
    assert trees.digest(init(jax.random.key(0))) == trees.digest(params)
    other = init(jax.random.key(1))
    assert not np.any(other["hidden_1"]["kernel"] == params["hidden_1"]["kernel"])


def test_matrices_of_one_init_differ(params):
    first = [params[layer]["kernel"].ravel()[:12] for layer in ("input", "hidden_1", "output")]
    correlations = np.corrcoef(np.stack(first))
    assert np.max(np.abs(correlations - np.eye(3))) < 0.95


def test_vmap_over_trainings(task, dataset, jit):
    keys = jax.random.split(jax.random.key(7), 2)

    def initial_loss(key):
        params = task.init(key)
        return params, task.loss(params, task.sample(dataset.arrays, key)), task.full_loss(params, task.data, "test")

    many, single = jit(jax.vmap(initial_loss))(keys), jit(initial_loss)
    for i in range(2):
        one = single(keys[i])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6), many, one)


def test_the_trained_network_sees_new_parameters_not_those_it_was_built_with(task, params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    batch = task.sample(task.data, jax.random.key(0))
    assert float(task.loss(zeros, batch)) == pytest.approx(np.log(CLASSES))
    assert float(task.loss(params, batch)) != pytest.approx(np.log(CLASSES))


def test_layers_end_in_the_logits(task, params, images):
    inputs = jnp.asarray(normalised(images, "test"), jnp.float32)
    layers = task.layers(params, inputs)
    assert [layer.name for layer in layers] == ["input", "hidden_1", "output"]
    expected = logits(params, np.asarray(inputs), forward_of(task))
    np.testing.assert_allclose(layers[-1].preactivation, expected, rtol=1e-4, atol=1e-5)


def test_one_task_per_width(dataset):
    widths = [task.width for task in make_tasks(MLPConfig(widths=[4, 16, 2]), "mup", dataset)]
    assert widths == [4, 16, 2]
    given = make_tasks(CONFIG, "mup", dataset, [5, 3])
    shapes = [jax.eval_shape(task.init, jax.random.key(0))["output"]["kernel"].shape for task in given]
    assert [(task.name, shape) for task, shape in zip(given, shapes, strict=True)] == [
        ("mlp_w5_d2", (5, CLASSES)),
        ("mlp_w3_d2", (3, CLASSES)),
    ]


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ({}, set()),
        ({"bias_init": "normal"}, {"input/bias", "hidden_1/bias", "output/bias"}),
        ({"output_init": "normal"}, {"output/kernel"}),
    ],
)
def test_init_options_reach_the_parameters(dataset, options, drawn, jit):
    task = make_tasks(MLPConfig(width=4, depth=2, **options), "mup", dataset)[0]
    params = jit(task.init)(jax.random.key(0))
    nonzero = {name for name, x in zip(trees.names(params), jax.tree.leaves(params), strict=True) if np.any(x != 0)}
    assert nonzero == drawn | {"input/kernel", "hidden_1/kernel"}


def test_unknown_parametrization_is_refused(dataset):
    with pytest.raises(ConfigError, match="parametrization=mu "):
        make_tasks(CONFIG, "mu", dataset)
