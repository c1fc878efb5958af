"""Particles shared out among devices give the same θ, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from mulo.meta.devices import particle_mesh

SCRIPT = """
import sys
import jax
import numpy as np
from mulo import data, trees
from mulo.config import EmbeddedDataConfig, MLPMultiwidthConfig, OuterConfig, RecipeConfig, SmallFCConfig, VeLOConfig
from mulo.meta.devices import particle_mesh
from mulo.meta.trainer import Trainer
from mulo.optimizers import make_optimizer
from mulo.tasks import make_tasks

assert jax.device_count() == 4
outer = OuterConfig(warmup_steps=2, decay_steps=20, learning_rate=0.03)
recipe = RecipeConfig(truncation=5, min_length=10, max_length=20, start_offset=10, pairs=4, sigma=0.03, outer=outer)
config = {"small_fc": SmallFCConfig(hidden_size=4), "velo": VeLOConfig()}[sys.argv[1]]
tasks = make_tasks(MLPMultiwidthConfig(widths=[8, 24], depth=2, batch_size=16), "mup", data.load(EmbeddedDataConfig()))
for devices in (1, 2, 4):
    trainer = Trainer(tasks, make_optimizer(config), recipe, 0, particle_mesh(recipe.pairs, devices))
    assert trainer.mesh.size == devices
    state = trainer.initial()
    for _ in range(20):
        state, _ = trainer.step(state)
    assert len(jax.tree.leaves(state.particles[0].training)[0].sharding.device_set) == devices
    trainings = [np.asarray(x) for x in jax.tree.leaves([p.training.params for p in state.particles])]
    first = trainings if devices == 1 else first
    apart = max(np.abs(x - y).max() for x, y in zip(trainings, first))
    print(trees.digest(jax.device_get(state.theta)), apart)
print(trees.digest(jax.device_get(trainer.initial_theta())))
"""


@pytest.mark.parametrize("architecture", ["small_fc", "velo"])
def test_one_two_and_four_devices_agree_bit_for_bit(architecture):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, architecture],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "4"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *found, start = (line.split() for line in done.stdout.splitlines())
    assert len({theta for theta, _ in found}) == 1
    assert start != found[0][:1], "θ has moved"
    # XLA fuses a batch of two otherwise than one of eight: parameters may differ in their last bit, losses do not.
    assert max(float(apart) for _, apart in found) < 1e-6


def test_a_mesh_has_as_many_devices_as_share_the_pairs_evenly():
    assert particle_mesh(8).size == min(8, jax.device_count())
    assert particle_mesh(8, devices=1).size == 1
