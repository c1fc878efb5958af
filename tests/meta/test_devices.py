"""Particles shared out among devices give the same θ, up to what XLA compiles otherwise for another batch."""

import jax
import pytest

from mulo.devices import particle_mesh
from tests.command import python_on

SCRIPT = """
import sys
import jax
import numpy as np
from mulo import data
from mulo.config import EmbeddedDataConfig, MLPConfig, OuterConfig, RecipeConfig
from mulo.devices import particle_mesh
from mulo.meta.trainer import Trainer
from mulo.optimizers import SmallFC, VeLO
from mulo.tasks import make_tasks

assert jax.device_count() == 4
outer = OuterConfig(warmup_start=0.01, warmup_steps=2, decay_steps=20, learning_rate=0.03)
recipe = RecipeConfig(
    estimator=sys.argv[2], truncation=5, min_length=10, max_length=20, start_offset=10, pairs=4, sigma=0.03, outer=outer
)
config = {"small_fc": SmallFC(hidden_size=4), "velo": VeLO()}[sys.argv[1]]
tasks = make_tasks(MLPConfig(widths=[12], depth=2, batch_size=16), "mup", data.load(EmbeddedDataConfig()))
for devices in (1, 2, 4):
    trainer = Trainer(tasks, config, recipe, 0, particle_mesh(recipe.pairs, devices))
    assert trainer.mesh.size == devices
    state = trainer.initial()
    for _ in range(int(sys.argv[3])):
        state, _ = trainer.step(state)
    assert len(jax.tree.leaves(state.particles[0].training)[0].sharding.device_set) == devices
    found = [np.asarray(x) for x in jax.tree.leaves((state.theta, [p.training.params for p in state.particles]))]
    first = found if devices == 1 else first
    moved = max(np.abs(x - y).max() for x, y in zip(found, jax.tree.leaves(trainer.initial_theta())))
    print(max(np.abs(x - y).max() for x, y in zip(found, first)), moved)
"""


SLOW = [("velo", "pes", 1), ("small_fc", "nres", 2), ("small_fc", "es_single", 2)]


@pytest.mark.parametrize(
    ("architecture", "estimator", "steps"),
    [("small_fc", "pes", 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_one_two_and_four_devices_agree(architecture, estimator, steps):
    printed = python_on(4, "-c", SCRIPT, architecture, estimator, str(steps))
    found = [tuple(map(float, line.split())) for line in printed.splitlines()]
    assert len(found) == 3
    # XLA fuses a batch of two otherwise than one of eight: parameters may differ in their last bits.
    assert max(apart for apart, _ in found) < 1e-5
    assert min(moved for _, moved in found) > (1e-3 if architecture == "small_fc" else 0)


def test_a_mesh_has_as_many_devices_as_share_the_pairs_evenly():
    assert particle_mesh(8).size == min(8, jax.device_count())
    assert particle_mesh(8, devices=1).size == 1
