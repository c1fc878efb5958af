"""JAX's global settings belong to the user: under any of them mulo computes what it computes without."""

import re
from contextlib import contextmanager
from dataclasses import replace

import jax
import numpy as np
import pytest

from mulo import checkpoint, randomness, trees
from mulo.config import (
    Augmentation,
    MLPConfig,
    OuterConfig,
    RecipeConfig,
    ResNetConfig,
    SyntheticDataConfig,
    TransformerConfig,
    ViTConfig,
)
from mulo.data import load, sources, text
from mulo.evaluation.coordinate_check import coordinate_check
from mulo.evaluation.results import RESULTS, trainings
from mulo.evaluation.rollout import rollout
from mulo.meta import particles
from mulo.meta.trainer import Trainer
from mulo.optimizers import AdamW, SmallFC
from mulo.tasks import augmented, make_tasks
from tests.command import TINY, mulo

KEY = randomness.root(3)
FLAGS = {
    "jax_enable_x64": True,
    "jax_numpy_rank_promotion": "raise",
    "jax_debug_nans": True,
    "jax_default_matmul_precision": "highest",
}
STRICT = FLAGS | {"jax_numpy_dtype_promotion": "strict"}
"""Not for Adam: optax raises its decays to the power of an integer."""
SMALL_FC = SmallFC(hidden_size=2)
ADAM = AdamW(learning_rate=0.01)


@contextmanager
def under(**flags):
    """Of the whole process: threads of their own compute the tasks' parts of an outer step."""
    flags |= {"jax_disable_most_optimizations": True}  # compiling takes nearly all the time
    before = {name: jax.config.values[name] for name in flags}
    try:
        for name, value in flags.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def assert_the_same(compute, flags, rtol=0):
    """Types and values, from data to results; bit for bit unless told otherwise."""
    with under():
        plain = compute()
    with under(**flags):
        found = compute()
    for name, one, other in zip(trees.names(plain), jax.tree.leaves(plain), jax.tree.leaves(found), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype, name
        np.testing.assert_allclose(other, one, rtol=rtol, err_msg=name)


def pixels():
    drawn = np.random.default_rng(0).integers(0, 256, (12, 4, 4)).astype(np.uint8)
    kinds = {"images": drawn, "labels": np.arange(12) % 3}
    return sources.in_memory("tiny", {f"{s}_{kind}": x for s in sources.SPLITS for kind, x in kinds.items()})


def words():
    tokens = np.random.default_rng(0).integers(0, 11, 60)
    return text.in_memory("tiny", dict.fromkeys(sources.SPLITS, tokens), 11, 5)


def clusters():
    return load(SyntheticDataConfig(shape=[3], classes=2))


NORMAL = {"output_init": "normal", "batch_size": 2, "width": 4}
MLP = MLPConfig(depth=2, **NORMAL)
TASKS = {
    "mlp": (clusters, replace(MLP, weight_init="truncated_normal", augmentation=Augmentation("parameter"))),
    "transformer": (words, TransformerConfig(depth=1, heads=2, **NORMAL)),
    "vit": (pixels, ViTConfig(depth=1, heads=2, patch=2, **NORMAL)),
    "resnet": (pixels, ResNetConfig(depth=1, stages=2, groups=2, **NORMAL)),
}


def network(family):
    """All that a task computes, and its data."""
    data, config = TASKS[family]
    task = augmented(make_tasks(config, "mup", data()), config)[0]

    def whole(key, arrays):
        params, drawn, batch = task.init(key), task.draw(key), task.sample(arrays, key)
        loss, gradient = jax.value_and_grad(task.loss)(params, batch, drawn)
        return params, drawn, batch, loss, gradient, task.full_loss(params, arrays, "test", drawn)

    return whole, task.data


@pytest.mark.parametrize("family", TASKS)
def test_a_network_is_traced_in_the_same_types(family):
    def traced():
        whole, data = network(family)
        return jax.make_jaxpr(whole, return_shape=True)(KEY, data)

    _, plain = traced()
    with under(**STRICT):
        program, found = traced()
    assert found == plain
    assert not re.search(r"f64\[\d", str(program)), "arrays on the way have double precision"


@pytest.mark.parametrize(
    "family", [name if name == "mlp" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_a_network_has_the_same_bits(family):
    def compute():
        whole, data = network(family)
        return jax.jit(whole)(KEY, data)

    assert_the_same(compute, STRICT)


def test_what_is_drawn_is_the_same():
    """To rounding: a program may have been compiled by an earlier test, with optimizations."""

    def compute():
        theta = trees.draw_weights(KEY, {"w": trees.Weight((3, 4), 0.5), "b": trees.Weight((4,))})
        lengths, offsets = zip(*[drawn(RecipeConfig(estimator=name)) for name in ("pes", "nres")], strict=True)
        return theta, trees.random_normal(KEY, theta), lengths, offsets

    def drawn(recipe):
        lengths = particles.draw_lengths(recipe, KEY, 50)
        return lengths, particles.draw_offsets(recipe, KEY, lengths)

    assert_the_same(compute, STRICT, rtol=1e-6)


def mlp(width=4):
    return make_tasks(MLP, "mup", clusters(), [width])[0]


@pytest.mark.slow
def test_meta_training():
    outer = OuterConfig(warmup_start=1e-3)
    recipe = RecipeConfig(truncation=2, min_length=2, max_length=4, start_offset=4, pairs=2, outer=outer)

    def compute():
        trainer = Trainer([mlp()], SMALL_FC, recipe, seed=0)
        state = trainer.initial()
        with jax.numpy_dtype_promotion("standard"):  # for optax's AdamW: particles advance in a thread of their own
            state, row = trainer.step(state)
        return state, row, trainer.validate(state.theta)

    assert_the_same(compute, STRICT, rtol=1e-5)


@pytest.mark.slow
def test_an_evaluation():
    assert_the_same(
        lambda: rollout(mlp(), SMALL_FC, SMALL_FC.init(KEY), num_steps=3, seeds=2, key=KEY), STRICT, rtol=1e-5
    )


@pytest.mark.slow
def test_a_coordinate_check():
    def compute():
        inputs, _ = mlp().sample(mlp().data, KEY)
        how = {"times": [1, 2], "seeds": 2, "key": KEY, "names": ("adamw", "mup")}
        return coordinate_check([mlp(), mlp(8)], ADAM, ADAM.init(KEY), inputs, **how)["std"].to_numpy()

    assert_the_same(compute, FLAGS, rtol=1e-4)


@pytest.mark.slow
def test_a_main_job_from_the_command_line(tmp_path, monkeypatch):
    plain = mulo("run_dir=plain", *TINY, cwd=tmp_path)
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    wide = mulo("run_dir=wide", *TINY, cwd=tmp_path)
    assert (plain.code, wide.code) == (0, 0), plain.err + wide.err
    tables = [RESULTS.read(tmp_path / name / "evaluation/results.csv") for name in ("plain", "wide")]
    one, other = map(trainings, tables)
    assert one.drop(columns=["initial", "train", "test"]).equals(other.drop(columns=["initial", "train", "test"]))
    np.testing.assert_allclose(one.test, other.test, rtol=1e-3)
    theta = checkpoint.load(tmp_path / "wide").theta
    assert {leaf.dtype for leaf in jax.tree.leaves(theta)} == {np.dtype(np.float32)}
