"""What a validation says, against losses written out: quadratics without noise have known ones."""

from functools import cache

import numpy as np
import pytest

from mulo.config import ValidationConfig, parse
from mulo.errors import ConfigError
from mulo.meta.trainer import Trainer

from .quadratic import THETA, MomentumOptimizer, Quadratic, expected_losses, flat, recipe

CALM = Quadratic(name="calm", noise=0.0, spread=0.0)
STEEP = Quadratic(name="steep", curvature=(60.0, 0.3), noise=0.0, spread=0.0)
"""Its training explodes at the rate of `THETA`."""
OTHER = Quadratic(name="other", curvature=(1.0, 0.1), noise=0.0, spread=0.0)
TRUNCATION, LENGTH, CLIP = 5, 20, 1000.0


@cache
def score(tasks, clip=CLIP, **validation):
    settings = ValidationConfig(**validation)
    trained = Trainer(
        (CALM,), MomentumOptimizer(), recipe(pairs=2, loss_clip=clip, validation=settings), 0, validated=tasks
    )
    return trained.validate(THETA)


def losses(task, length=LENGTH):
    """Of one training, every step's."""
    return expected_losses(task, np.tile(flat(THETA), (length, 1)), length)


def test_networks_and_length_of_its_own():
    found = score((OTHER, CALM), num_steps=38, score="mean")
    expected = {f"validation_loss/{task.name}": losses(task, 40).mean() for task in (OTHER, CALM)}
    assert found == pytest.approx({"validation_loss": np.mean(list(expected.values())), **expected}, rel=1e-4)


@pytest.mark.parametrize(("share", "steps"), [(0.5, 10), (0.3, 5), (0.01, 5), (1.0, 20)])
def test_the_last_share_of_the_steps(share, steps):
    assert score(None, final_share=share)["validation_loss"] == pytest.approx(losses(CALM)[-steps:].mean(), rel=1e-4)


def test_networks_weigh_by_ratios_and_an_explosion_counts_as_its_first_loss():
    assert losses(STEEP)[-1] > 1e6
    found = score((STEEP, OTHER), final_share=0.25)
    first, final = losses(STEEP)[0], losses(OTHER)[-5:].mean()
    assert found["validation_loss/steep"] == pytest.approx(first)
    assert found["validation_loss/other"] == pytest.approx(final, rel=1e-4)
    assert found["validation_loss"] == pytest.approx(np.sqrt(first * final), rel=1e-4)


class Broken(Quadratic):
    """Its loss is no number once the second weight is small, which it is half-way; before, it is as it was."""

    def loss(self, params, batch, drawn=()):
        loss = super().loss(params, batch, drawn)
        return loss + 0.0 / (params["w"][1] > self.broken_below)

    broken_below = 0.5


def test_a_training_that_meets_no_number_counts_as_its_first_loss():
    """Its mean clipped loss is lower."""
    broken = Broken(name="broken", noise=0.0, spread=0.0)
    assert score((broken,), clip=2.5, score="stable")["validation_loss"] == pytest.approx(losses(CALM)[0])
    assert score((broken,), clip=2.5, score="mean")["validation_loss"] < 0.9 * losses(CALM)[0]


def test_the_first_loss_is_that_of_the_same_minibatch():
    """With noise first losses differ between seeds: explosions leave them alone."""
    noisy = Quadratic(name="noisy", curvature=(60.0, 0.3))
    own = Trainer(
        (noisy,), MomentumOptimizer(), recipe(pairs=2, truncation=1, min_length=1, max_length=1, loss_clip=CLIP), 0
    )
    assert score((noisy,), score="stable")["validation_loss"] == pytest.approx(own.validate(THETA)["validation_loss"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_any_number_of_seeds(seeds):
    """Batches, whose sizes need not be even, leave none out."""
    noisy = Quadratic()
    few, batched = (
        Trainer(
            (noisy,),
            MomentumOptimizer(),
            recipe(pairs=4, particles_per_batch=size, validation=ValidationConfig(seeds=seeds, score="mean")),
            0,
        )
        for size in (None, 1)
    )
    assert few.validate(THETA) == pytest.approx(batched.validate(THETA), rel=1e-5)
    assert few.validate.estimators[0] is not few.estimators[0]
    assert few.recipe.validation_trainings == seeds


def test_the_score_is_stable_where_anything_else_is_set():
    assert not ValidationConfig().stable
    assert ValidationConfig(final_share=0.5).stable
    assert ValidationConfig(score="stable").stable
    assert not ValidationConfig(final_share=0.5, score="mean").stable


def test_by_default_the_programs_of_meta_training_validate():
    trainer = Trainer((CALM,), MomentumOptimizer(), recipe(pairs=2), 0)
    assert trainer.validate.estimators == trainer.estimators


def test_a_network_given_twice_is_refused():
    with pytest.raises(ConfigError, match=r"recipe\.validation\.depths=\[3, 3\] is invalid"):
        parse({"recipe": {"validation": {"depths": [3, 3]}}})
