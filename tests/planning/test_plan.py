"""mode=plan: what it says, the paper's recipes on the page, and predictions against what then happens."""

import io
import json
import re
import time
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import memory as measuring
from mulo.jobs.meta_train import make_trainer
from mulo.jobs.plan import make_plan, plan
from mulo.planning.accelerators import ACCELERATORS
from mulo.reporting.units import of_bytes, of_seconds, scaled
from tests.command import TINY
from tests.test_configs import composed

PAGE = Path(__file__).parents[2] / "docs/planning.md"
SMALL = [setting for setting in TINY if not setting.startswith("recipe.pairs")]


def hours(*overrides):
    """Of meta-training with its validations."""
    made = make_plan(composed("mode=plan", *overrides))
    return sum(phase.seconds for phase in made.phases if phase.name in ("meta-training", "validations")) / 3600


def rows():
    """(arguments, planned hours) as the page has them."""
    return re.findall(r"^\| `(.+?)` \| (\S+) h \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def shared():
    return re.search(r"python -m mulo\.run (mode=plan .+?) …", PAGE.read_text(encoding="utf-8")).group(1).split()[1:]


def test_the_page_has_the_papers_recipes():
    assert len(rows()) == 3
    assert {"recipe=paper", "plan.device=a6000", "data=synthetic"} <= set(shared())


@pytest.mark.parametrize(("arguments", "planned"), rows())
def test_the_page_says_what_the_planner_says(arguments, planned):
    assert f"{hours(*shared(), *arguments.split()):.2g}" == planned


def test_the_page_has_the_memory_that_was_measured():
    assert measuring.table() in PAGE.read_text(encoding="utf-8")
    ratios = [row["planned_mb"] / row["resident_mb"] for row in measuring.rows()]
    assert len(ratios) == len(measuring.CASES)
    assert min(ratios) > 0.6
    assert max(ratios) < 1.4


@cache
def on(device, *overrides):
    return make_plan(composed("mode=plan", f"plan.device={device}", *SMALL, *overrides))


@pytest.mark.parametrize("device", ACCELERATORS)
def test_every_device_gives_a_plan(device):
    made = on(device)
    assert 0 < made.seconds < 60
    assert made.memory_available == ACCELERATORS[device].memory
    assert set(made.memory) == {"meta-training", "evaluation"}
    # An accelerator's own memory: the process is on its host.
    assert all(peak.process == peak.programs == 0 < peak.total for peak in made.memory.values())
    assert made.memory["meta-training"].moment != "a save"
    assert [phase.name for phase in made.phases] == ["one outer step", "meta-training", "validations", "evaluation"]
    assert "Assumed, not measured" in made.assumptions[1]


def test_faster_devices_are_planned_to_be_faster():
    assert on("h100").seconds < on("a100").seconds < on("a6000").seconds


def test_a_baseline_has_nothing_to_meta_train():
    small = [setting for setting in SMALL if not setting.startswith("optimizer")]
    made = make_plan(composed("mode=plan", "plan.device=h100", *small, "optimizer=adamw"))
    tuning, evaluation = made.phases
    assert (tuning.name, evaluation.name) == ("tuning", "evaluation")
    # Of each network of the task: 48 settings, one seed, 200 steps.
    assert tuning.inner_steps == 48 * 200
    assert set(made.memory) == {"tuning", "evaluation"}


def test_a_plan_is_printed_and_written(tmp_path):
    screen = io.StringIO()
    config = composed("mode=plan", "plan.device=v5e", *SMALL, f"plan.output={tmp_path}/plan.json")
    assert plan(config, Console(file=screen, width=160)) == 0
    written = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert written["seconds"] == on("v5e").seconds
    assert written["optimizees"][0]["parameters"] == 64 * 4 + 4 + 4 * 10 + 10
    assert written["memory"]["evaluation"]["total"] == on("v5e").memory["evaluation"].total
    for said in ("mlp_w4_d1", "TPU v5e", "Peak memory of meta-training", "state of all trainings", "Assumed"):
        assert said in screen.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "said"), [(4, "whole outer steps"), (256, "one pair")])
def test_this_machine_is_measured(size, said):
    made = make_plan(composed("mode=plan", *SMALL, f"task.widths=[{size}]", "task.batch_size=64", "plan.seconds=0.01"))
    assert said in made.assumptions[0]
    assert made.seconds > 0


def test_units_are_those_of_people():
    assert scaled(1.234e12, "FLOP") == "1.23 TFLOP"
    assert of_bytes(999.7e6) == "1 GB"
    assert [of_seconds(x) for x in (3e-6, 0.012, 45, 600, 7200, 864000)] == [
        "3 µs", "12 ms", "45 s", "10 min", "2 h", "10 d",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, 0.05], ids=["outer steps", "pairs"])
def test_the_plan_for_this_machine_is_what_meta_training_takes(seconds):
    arguments = ("optimizer=small_fc_mup", "task=mlp", "task.width=64", "task.batch_size=128", "recipe.pairs=4")
    planned = make_plan(composed("mode=plan", *arguments, f"plan.seconds={seconds}")).phases[0].seconds
    trainer = make_trainer(composed("mode=meta_train", *arguments))
    state, _ = trainer.step(trainer.initial())
    begun = time.perf_counter()
    for _ in range(10):
        state, _ = trainer.step(state)
    assert 0.4 < planned / ((time.perf_counter() - begun) / 10) < 2.5
