"""mode=parameters prints and writes what the parametrization gives every parameter."""

import csv

import pytest
from rich.console import Console

from mulo.jobs.parameters import parameters
from mulo.launch import dispatch
from tests.test_configs import composed


def rows(folder):
    with (folder / "parameters.csv").open(encoding="utf-8") as file:
        return {row["parameter"]: row for row in csv.DictReader(file)}


def test_the_table_of_a_vit(tmp_path, capsys):
    config = composed("mode=parameters", "task=vit", "task.width=32", "task.depth=2", "optimizer=small_fc_mup")
    assert parameters(config, tmp_path) == 0
    found, printed = rows(tmp_path), capsys.readouterr().out
    assert "vit_w32_d2, mup, under small_fc_mup" in printed
    assert "Attention logits: q·k × 0.125, heads of size 8." in printed
    assert all(path in printed for path in found)
    down = found["block_2/down/kernel"]
    assert (down["role"], down["shape"], down["fan_in"]) == ("hidden", "128×32", "128")
    assert [float(down[key]) for key in ("init_std", "forward", "update", "weight_decay", "epsilon")] == pytest.approx(
        [128**-0.5, 1, 1 / 128, 1 / 128, 1]
    )
    assert float(found["output/kernel"]["forward"]) == 1 / 32
    assert float(found["norm/gain"]["init_mean"]) == 1


def test_completep_names_its_branches_and_epsilons(tmp_path, capsys):
    config = composed(
        "mode=parameters", "task=resnet", "task.width=16", "optimizer=adamw", "task.parametrization=completep"
    )
    parameters(config, tmp_path)
    assert "Residual branches: × 0.5, 2 blocks." in capsys.readouterr().out
    first = rows(tmp_path)["stage_1_block_1/first/kernel"]
    assert [float(first[key]) for key in ("update", "weight_decay", "epsilon")] == pytest.approx([1 / 16, 1, 1 / 32])


def test_every_network_of_a_mixed_task_has_its_table(tmp_path, capsys):
    config = composed("mode=parameters", "task=mixed", "task.members=[mlp,vit]", "task.mlp.widths=[8,16]")
    parameters(config, tmp_path)
    printed = capsys.readouterr().out
    assert all(f"{name}, mup" in printed for name in ("mlp_w8_d3", "mlp_w16_d3", "vit_w16_d3", "vit_w32_d3"))
    assert "mlp_w8_d3" in (tmp_path / "parameters.csv").read_text(encoding="utf-8")


def test_a_table_needs_no_logger(tmp_path):
    config = composed("mode=parameters", "task=mlp", "task.width=8", "logger=wandb", f"run_dir={tmp_path}")
    assert dispatch._lead(config, Console(quiet=True)) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "parameters.csv"}
