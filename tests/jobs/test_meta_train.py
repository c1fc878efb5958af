"""A run that was cut ends as one that was not, bit for bit."""

import json
import random

import pytest
from rich.console import Console

from mulo import trees
from mulo.checkpoint import load
from mulo.config import parse
from mulo.errors import Interrupted
from mulo.jobs.context import JobContext
from mulo.jobs.meta_train import make_trainer, meta_train
from mulo.process.run_directory import open_run
from mulo.process.stopping import Stop
from mulo.reporting.wandb_mirror import WandbMirror

STEPS = 12
RAW = {
    "mode": "meta_train",
    "optimizer": {"architecture": "small_fc", "hidden_size": 2},
    "task": {"name": "mlp_multiwidth", "widths": [3], "depth": 1, "batch_size": 4},
    "data": {"name": "synthetic", "shape": [3], "classes": 2},
    "recipe": {
        "outer_steps": STEPS,
        "truncation": 2,
        "min_length": 2,
        "max_length": 8,
        "start_offset": 4,
        "pairs": 2,
        "save_every": 5,
        "validate_every": 3,
        "outer": {"warmup_steps": 1, "decay_steps": STEPS},
    },
    "logger": {"name": "none"},
}


class StopAfter(Stop):
    """Asks for a stop after some outer steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.signal_number = steps, 2

    def requested(self) -> bool:
        self.steps -= 1
        return self.steps <= 0


def train(folder, stop=None, **changes):
    config = parse(RAW | {"run_dir": str(folder)} | changes)
    mirror = WandbMirror(config.logger, folder, {})
    return meta_train(JobContext(config, open_run(config), Console(quiet=True), mirror, stop or Stop()))


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncut")
    return folder, trees.digest(train(folder))


def test_cut_three_times_at_random_steps(uncut, tmp_path):
    cuts = sorted(random.Random(0).sample(range(1, STEPS), 3))
    done = 0
    for cut in cuts:
        with pytest.raises(Interrupted, match=f"outer step {cut} of {STEPS}"):
            train(tmp_path, StopAfter(cut - done))
        done = cut
    assert trees.digest(train(tmp_path)) == uncut[1]
    assert records(tmp_path) == records(uncut[0])


def test_rows_logged_after_the_last_checkpoint_are_computed_again(uncut, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, StopAfter(5))
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:  # as a kill between two saves leaves it
        file.write('{"outer_step": 6, "meta_loss": 99.0}\n{"outer_st')
    assert trees.digest(train(tmp_path)) == uncut[1]
    assert records(tmp_path) == records(uncut[0])


def test_a_run_that_was_killed_in_its_first_save_starts_anew(uncut, tmp_path):
    for name in ("last/5.orbax-checkpoint-tmp/state.orbax-checkpoint-tmp", "last/5/meta", "best/3/theta"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert trees.digest(train(tmp_path)) == uncut[1]
    assert records(tmp_path) == records(uncut[0])
    kept = [sorted(path.name for path in place.glob("checkpoints/*/*")) for place in (tmp_path, uncut[0])]
    assert kept[0] == kept[1]


def test_same_seed_same_bits_other_seed_other_theta(uncut, tmp_path):
    assert trees.digest(train(tmp_path / "again")) == uncut[1]
    assert trees.digest(train(tmp_path / "other", seed=1)) != uncut[1]


def test_a_finished_run_is_not_run_again(uncut):
    before = records(uncut[0])
    assert trees.digest(train(uncut[0])) == uncut[1]
    assert records(uncut[0]) == before


def test_what_the_run_directory_holds(uncut):
    folder = uncut[0]
    assert [row["outer_step"] for row in records(folder)] == list(range(STEPS + 1))
    assert [row["outer_step"] for row in records(folder) if "validation_loss" in row] == [0, 3, 6, 9, 12]
    best = min((row for row in records(folder)[1:] if "validation_loss" in row), key=lambda row: row["validation_loss"])
    assert load(folder / "checkpoints/best").meta.step == best["outer_step"]
    assert load(folder).meta.config["task"]["widths"] == [3]
    assert (folder / "meta_training.png").stat().st_size > 10_000


OPTIONS = {
    **{"keep": "best", "go_back": 0.0, "normalize_tasks": True, "lengths": "uniform", "length_curriculum": 0.5},
    **{"end_weight": 2.0, "validation": {"num_steps": 4, "seeds": 2, "final_share": 0.5}},
    "outer": RAW["recipe"]["outer"] | {"learning_rate": 30.0, "pull": 0.001, "average": 0.2},
}


@pytest.mark.slow
def test_with_all_options_a_run_that_was_cut_goes_on_bit_for_bit_and_stores_what_it_hands_on(tmp_path):
    options = {"recipe": RAW["recipe"] | OPTIONS}
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", StopAfter(7), **options)
    found, whole = (trees.digest(train(tmp_path / name, **options)) for name in ("cut", "uncut"))
    assert found == whole
    rows = records(tmp_path / "uncut")
    assert records(tmp_path / "cut") == rows
    assert rows[-1]["went_back"] > 0
    assert trees.digest(load(tmp_path / "uncut").theta) == whole
    best = min((row for row in rows if "validation_loss" in row), key=lambda row: row["validation_loss"])
    assert load(tmp_path / "uncut/checkpoints/best").meta.step == best["outer_step"]
    assert trees.digest(load(tmp_path / "uncut/checkpoints/best").theta) == whole


def test_validations_may_have_other_networks():
    validation = {"widths": [5, 7], "depths": [2], "num_steps": 4, "seeds": 3}
    trainer = make_trainer(parse(RAW | {"recipe": RAW["recipe"] | {"validation": validation}}))
    assert [task.name for task in trainer.tasks] == ["mlp_w3_d1"]
    assert [e.task.name for e in trainer.validate.estimators] == ["mlp_w5_d2", "mlp_w7_d2"]
