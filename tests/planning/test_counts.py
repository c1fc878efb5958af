"""Arithmetic and memory traffic against hand counts, XLA, and what a meta-training really does."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from mulo.config import MLPConfig, PlanConfig, RecipeConfig, SyntheticDataConfig, ValidationConfig
from mulo.cost import Cost
from mulo.data import load
from mulo.meta.particles import draw_lengths
from mulo.meta.trainer import run
from mulo.optimizers import Celo2, SmallFC, VeLO, tensor_lstm
from mulo.optimizers.celo2 import newton_schulz
from mulo.optimizers.orthogonalized import orthogonalize
from mulo.planning import steps
from mulo.planning.accelerators import ACCELERATORS, BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY, seconds
from mulo.planning.programs import matrix_products, operations
from mulo.planning.steps import InnerStep
from mulo.tasks import make_tasks
from tests.meta.test_trainer import made


@pytest.fixture(scope="module")
def task():
    return make_tasks(MLPConfig(width=128, batch_size=256), "mup", load(SyntheticDataConfig(shape=[96])))[0]


def test_gradient_is_that_of_an_mlp_by_hand(task):
    """Forward, gradient of the weights, gradient of the inputs: 6 per weight and example; the data need no gradient."""
    first, rest = 96 * 128, 2 * 128 * 128 + 128 * 10
    step = steps.inner_step(task, SmallFC())
    assert step.gradient.flops == 256 * (4 * first + 6 * rest)
    assert step.parameters == first + rest + 3 * 128 + 10
    assert step.sampling.bytes == 4 * 256 * 97


def test_gradient_is_what_xla_counts(task):
    params, batch = steps.shapes(task)
    counted = jax.jit(jax.grad(task.loss)).lower(params, batch).compile().cost_analysis()["flops"]
    assert steps.inner_step(task, SmallFC()).gradient.flops == pytest.approx(counted, rel=0.05)


def test_loops_and_convolutions_count_as_often_as_they_run():
    def looped(x):
        return jax.lax.scan(lambda c, _: (c @ x, None), x, length=5)[0]

    square = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    assert matrix_products(looped, square) == Cost(5 * 2 * 8**3, 5 * 3 * 4 * 64)
    image, kernel = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 4, 6, 6), (7, 4, 3, 3)))
    found = matrix_products(lambda x, k: jax.lax.conv(x, k, (1, 1), "VALID"), image, kernel)
    assert found.flops == 2 * (7 * 4 * 4) * (4 * 3 * 3)


def test_operations_in_loops_and_called_programs_count_once():
    def looped(x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c) * 2, None), jax.jit(jnp.cos)(x), length=5)[0]

    # The scan with a sine and a product in it, the call with a cosine in it.
    found, result = operations(looped, jax.ShapeDtypeStruct((3,), jnp.float32))
    assert found == 5
    assert result.shape == (3,)


def test_newton_schulz_is_what_celo2_computes():
    for shape in ((5, 20), (20, 5), (3, 6, 6)):
        computed = matrix_products(orthogonalize, jax.ShapeDtypeStruct(shape, jnp.float32))
        assert newton_schulz(shape).flops == computed.flops
    base, orthogonal = (Celo2(orthogonalize=o).cost([(5, 20)]) for o in (False, True))
    assert orthogonal.flops - base.flops == newton_schulz((5, 20)).flops


def test_lstm_is_what_velo_computes():
    config, tensors = VeLO(), 7
    theta = config.init(jax.random.key(0))["lstm"]
    state = tensor_lstm.initial_state(theta, tensors)
    network = matrix_products(tensor_lstm.apply, theta, jnp.zeros((tensors, 30)), state).flops
    mixing = 2 * tensors * config.param_inits * (31 * 4 + 5 * 4 + 5 * 3)
    shapes = [(1,)] * tensors
    own = config.cost(shapes).flops - tensors * config.entry_cost().flops
    assert own == network + mixing


def test_hidden_sizes_act_as_in_an_mlp_of_three_layers():
    assert SmallFC().entry_cost().flops == 2 * (16 * 32 + 32 * 32 + 32 * 2)
    assert SmallFC(hidden_size=4).entry_cost().flops == 2 * (16 * 4 + 4 * 4 + 4 * 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"outer_steps": 7},
        {"outer_steps": 6, "validation": ValidationConfig(num_steps=34, seeds=3)},
        {"estimator": "es_single"},
        {"estimator": "es", "min_length": 20},
    ],
)
def test_inner_steps_are_those_of_a_meta_training(changes):
    trainer = made(**changes)
    counted = {"all": 0, "validation": 0}
    for estimator in dict.fromkeys([*trainer.estimators, *trainer.validate.estimators]):
        advance, full = estimator.advance, trainer.validate.loss

        def counting(advance, thetas, training, lengths, *rest):
            counted["all"] += len(lengths) * trainer.recipe.truncation
            return advance(thetas, training, lengths, *rest)

        estimator.advance = partial(counting, advance)

    def validating(index, theta):
        before = counted["all"]
        loss = full(index, theta)
        counted["validation"] += counted["all"] - before
        return loss

    trainer.validate.loss = validating
    run(trainer, trainer.initial(), lambda *_: None, lambda row: None, lambda state: None)
    tasks, recipe = len(trainer.tasks), trainer.recipe
    assert counted["validation"] == tasks * steps.validation(recipe)
    trained = counted["all"] - counted["validation"]
    assert trained == pytest.approx(tasks * recipe.outer_steps * steps.per_outer_step(recipe))


@pytest.mark.parametrize("changes", [{}, {"lengths": "uniform"}, {"length_curriculum": 0.5}], ids=str)
def test_the_mean_length_is_that_of_the_lengths_drawn(changes):
    recipe = RecipeConfig(estimator="es", min_length=100, max_length=1000, truncation=1, outer_steps=200, **changes)
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = jax.vmap(lambda key, step: draw_lengths(recipe, key, 500, step))(keys, jnp.arange(200))
    assert float(drawn.mean()) == pytest.approx(steps.truncations_per_outer_step(recipe), rel=0.01)


def test_time_is_bound_by_arithmetic_or_by_memory():
    device = ACCELERATORS["a100"]
    peak, wide = device.matrix_flops * COMPUTE_EFFICIENCY, device.bandwidth * BANDWIDTH_EFFICIENCY
    nothing = Cost(0, 0)
    assert seconds(InnerStep(1, Cost(peak, wide / 2), nothing, nothing), device) == pytest.approx(1)
    assert seconds(InnerStep(1, Cost(peak / 2, wide), nothing, nothing), device) == pytest.approx(1)
    vector = Cost(device.vector_flops * COMPUTE_EFFICIENCY, 0)
    assert seconds(InnerStep(1, Cost(peak, 0), vector, Cost(0, wide)), device) == pytest.approx(3)


def test_every_device_that_can_be_chosen_is_known():
    choices = PlanConfig.__dataclass_fields__["device"].metadata["limits"]["choices"]
    assert set(choices) == {"this", *ACCELERATORS}
