"""Data that move on: which position each loop asks for, and that a resumed job sees what it would have seen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo.config import MLPConfig, OuterConfig, StreamedDataConfig
from mulo.data.streams import stream
from mulo.devices import LaidOut, particle_mesh
from mulo.evaluation.coordinate_check import coordinate_check
from mulo.evaluation.rollout import rollout
from mulo.meta.trainer import Trainer
from mulo.randomness import root
from mulo.tasks import make_tasks

from .quadratic import THETA, MomentumOptimizer, Quadratic, recipe

OUTER = OuterConfig(learning_rate=0.1, warmup_start=0.01, warmup_steps=2, final_learning_rate=0.02, decay_steps=30)


class Moving(Quadratic):
    """A quadratic that notes which positions of its data are asked for; there is less noise at each."""

    def data_at(self, position):
        asked.append(position)
        return {"noise": jnp.float32(self.noise / (1 + position))}


asked: list[int] = []


class LearnedRate:
    """SGD whose θ is its log learning rate."""

    def init(self, key):
        return {"log_rate": jnp.float32(-3)}

    def transform(self, theta, num_steps, multipliers):
        return optax.with_extra_args_support(optax.sgd(jnp.exp(theta["log_rate"])))


def trainer(tasks, optimizer=None, **changes):
    settings = {"outer_steps": 9, "min_length": 10, "max_length": 40, "truncation": 10, "pairs": 2, "start_offset": 0}
    return Trainer(tasks, optimizer or MomentumOptimizer(), recipe(**settings | {"outer": OUTER, **changes}), 0)


@pytest.mark.parametrize(("estimator", "truncations"), [("pes", 1), ("es_single", 1), ("es", 4)])
def test_an_outer_step_is_a_position_and_a_validation_starts_at_0(estimator, truncations):
    made = trainer([Moving()], estimator=estimator, min_length=40)
    state = made.initial()
    for step in range(3):
        asked.clear()
        state, _ = made.step(state)
        assert asked == [step] * truncations
    for _ in range(2):
        asked.clear()
        made.validate(state.theta)
        assert asked == [0, 1, 2, 3]


def test_the_data_of_the_position_are_those_used():
    def losses(task):
        made = trainer([task], estimator="es", min_length=40)
        return [made.step(made.initial())[1]["meta_loss"], made.validate(THETA)["validation_loss"]]

    class Still(Moving):
        def data_at(self, position):
            return {"noise": jnp.float32(self.noise)}

    moving, still = losses(Moving()), losses(Still())
    assert moving[0] == still[0]  # position 0
    assert moving[1] != still[1]


def test_a_rollout_moves_on_once_per_chunk_and_uses_what_it_finds():
    asked.clear()
    rollout(Moving(), MomentumOptimizer(), THETA, num_steps=60, seeds=1, key=root(0))
    assert asked == list(range(20))


def test_tasks_that_share_data_share_the_copy_until_they_move_on():
    class Shared(Quadratic):
        def data_at(self, position):
            return kept[position]

    kept = [{"noise": jnp.float32(i)} for i in range(3)]
    laid_out, one, other = LaidOut(particle_mesh(2)), Shared(name="one"), Shared(name="other")
    first = laid_out(one, 0)
    assert laid_out(other, 0) is first
    assert laid_out(one, 0) is first
    second = laid_out(one, 1)
    assert float(second["noise"]) == 1
    assert laid_out(other, 1) is second
    assert len({id(copy) for _, copy in laid_out._current.values()}) == 1


class Blobs:
    """30 images of 2×2 bytes, brighter with their class."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        label = index % 3
        return np.full((2, 2), 60 * label + index, np.uint8), np.array(label, np.int32)


def streamed():
    config = StreamedDataConfig(window=8, block=4)
    return stream(
        "blobs", {"train": Blobs(), "test": Blobs()}, config, kind="images", classes=3, decode=lambda x: x / 100.0
    )


def streaming_trainer():
    """With a dataset of its own, as a new process has."""
    task = MLPConfig(widths=[2], depth=1, batch_size=4)
    lengths = {"truncation": 2, "min_length": 2, "max_length": 6}
    return trainer(make_tasks(task, "mup", streamed()), LearnedRate(), **lengths)


def test_a_cut_and_resumed_meta_training_on_a_stream_ends_with_the_same_bits():
    whole, rows = streaming_trainer(), []
    state = whole.initial()
    for step in range(6):
        state, row = whole.step(state)
        rows.append(row | whole.validate(state.theta))
        if step == 2:
            cut = jax.tree.map(np.array, state)  # as a checkpoint gives it back
    resumed = streaming_trainer()
    again = resumed.place(cut)
    for step in range(3, 6):
        again, row = resumed.step(again)
        assert row | resumed.validate(again.theta) == rows[step]
    jax.tree.map(np.testing.assert_array_equal, state, again)
    assert len({row["meta_loss"] for row in rows}) == 6


def test_a_coordinate_check_moves_on_at_every_stop():
    data, positions = streamed(), []
    tasks = make_tasks(MLPConfig(widths=[2, 4], depth=1, batch_size=4), "mup", data)
    at = data.window.at
    data.window.at = lambda position: positions.append(position) or at(position)
    theta, inputs = LearnedRate().init(None), jnp.ones((3, 2, 2))
    names = ("learned rate", "mup")
    coordinate_check(tasks, LearnedRate(), theta, inputs, times=[2, 4], seeds=1, key=root(0), names=names)
    assert positions == [0, 1, 0, 1]
