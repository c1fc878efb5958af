"""What is typed on the command line reaches Hydra as it is meant."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from mulo.launch.sweep import Sweep
from mulo.run import Launch, bundled, typed
from tests.test_configs import composed

ROOT = Path(__file__).parents[1]


def value_of(argument: str):
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize(
    "text",
    [
        "µLO_M",
        "lr=0.1",
        "runs/lr=0.1-mlp_multiwidth-quick-seed0-12ab34",
        "runs/a(1)=µ",
        "~/runs/x",
        "日本#1!",
        "it's",
        "C:\\ü\\",
        "${name}-µ",
        "[4,8",
        "range(1",
    ],
)
def test_a_value_that_hydra_knows_in_quotes_only_is_a_text(text):
    with pytest.raises(HydraException):
        value_of(f"name={text}")
    assert value_of(typed(f"name={text}")) == text


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("name=µA,b", ["µA", "b"]),
        ("checkpoint=runs/a=1, runs/b=2", ["runs/a=1", "runs/b=2"]),
        ("name='µ,x',ö", ["µ,x", "ö"]),
        ("name=choice(µA,b)", ["µA", "b"]),
    ],
)
def test_a_sweep_stays_a_sweep(argument, values):
    with pytest.raises(HydraException):
        value_of(argument)
    assert [getattr(one, "text", one) for one in value_of(typed(argument)).list] == values


def test_lists_and_dictionaries_keep_their_form():
    assert value_of(typed("+x=[µ,b]")) == ["µ", "b"]
    assert value_of(typed("+x={a:µ}")) == {"a": "µ"}


@pytest.mark.parametrize(
    "argument",
    [
        *("task.width=4,8", "task.widths=[4,8]", "+x={a:1,b:[c,d]}", "seed=range(1,5)", "seed=choice(1,2)", "name=a b"),
        *("run_dir=", "name=null", "name='µ'", 'name="µ,=1"', r"name=a\=b", "checkpoint=${run_dir}", "~name", "seed"),
        *("-m", "--config-dir=ü"),
    ],
)
def test_what_hydra_knows_or_will_never_know_is_left_as_it_is(argument):
    assert typed(argument) == argument


def test_names_come_through_hydra_unchanged():
    config = composed(typed("name=µLO_M"), typed("run_dir=runs/lr=0.1"))
    assert (config.name, config.run_dir) == ("µLO_M", "runs/lr=0.1")


def test_a_sweep_in_a_directory_that_cannot_be_written_is_refused(monkeypatch, capsys):
    monkeypatch.chdir("/proc")
    monkeypatch.setattr(Launch, "launched", Sweep())
    with pytest.raises(SystemExit, match="2"):
        Launch().on_multirun_start(OmegaConf.create())
    assert "/proc/runs/multirun cannot be written" in capsys.readouterr().err


def test_a_wheel_holds_presets_and_sweeps(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    held = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    folders = [Path(bundled(name)) for name in ("conf", "sweeps")]
    expected = {f"mulo/{path.relative_to(folder.parent)}" for folder in folders for path in folder.rglob("*.yaml")}
    assert {"mulo/conf/config.yaml", "mulo/sweeps/figure/width.yaml"} <= expected
    assert expected <= held
