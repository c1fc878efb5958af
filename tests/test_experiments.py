"""The text of every record is what its stored data say."""

import csv
import importlib
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from benchmarks import record, table
from experiments import ledger
from experiments.baseline_learning_rate import record as baselines
from experiments.quick_preset import record as quick_preset
from mulo.reporting.record import write_up

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RECORDS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/record.py"))
SWEEPS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/record.json"))


@pytest.mark.parametrize("name", RECORDS)
def test_the_record_follows_from_its_data(name):
    module = importlib.import_module(f"experiments.{name}.record")
    assert (EXPERIMENTS / name / "README.md").read_text(encoding="utf-8") == module.readme()


@pytest.mark.parametrize("name", SWEEPS)
def test_the_record_of_a_sweep_is_what_its_data_give(name, tmp_path):
    again = shutil.copytree(EXPERIMENTS / name, tmp_path / name)
    for text in ("README.md", "index.html"):
        (again / text).unlink()
    write_up(again)
    for text in ("README.md", "index.html"):
        assert (again / text).read_bytes() == (EXPERIMENTS / name / text).read_bytes()


def test_the_readme_says_how_its_first_picture_compares():
    """Numbers by hand from results_seed0.csv, of the picture's seed."""
    rows = list(csv.DictReader((EXPERIMENTS / "quick_preset/results_seed0.csv").open(encoding="utf-8")))
    losses: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        losses.setdefault((row["optimizer"], row["width"]), []).append(float(row["test_loss"]))
    means = {key: sum(own) / len(own) for key, own in losses.items()}
    assert all(means["velo_mup", width] > means["adamw", width] for width in ("16", "64", "128", "256", "512"))
    velo, adamw = (f"{means[name, '512']:.3f}" for name in ("velo_mup", "adamw"))
    assert quick_preset.behind().endswith(f"{velo} against {adamw} at width 512.")
    assert quick_preset.behind() in " ".join((EXPERIMENTS.parent / "README.md").read_text("utf-8").split())


def test_the_ledger_follows_from_the_records():
    assert (EXPERIMENTS / "LEDGER.md").read_text(encoding="utf-8") == ledger.ledger()


def test_the_ledger_counts_a_shared_meta_training_once():
    """By hand: two jobs share 60 s, a third tunes for 30 s; a later record has the shared one and 120 s of its own."""
    prepared = [{"shared": "a", "seconds": 60.0}, {"shared": "a", "seconds": 60.0}, {"shared": None, "seconds": 30.0}]
    seen: set[str] = set()
    assert ledger._prepared([{"preparation": own} for own in prepared], seen) == 90.0
    later = [{"shared": "a", "seconds": 60.0}, {"shared": "b", "seconds": 120.0}]
    assert ledger._prepared([{"preparation": own} for own in later], seen) == 120.0


def test_the_baselines_have_the_settings_that_the_record_found():
    for name, row in baselines.best().items():
        settings = OmegaConf.load(EXPERIMENTS.parent / f"conf/optimizer/{name}.yaml")
        assert settings.schedule == row["schedule"]
        assert settings.learning_rate == float(row["learning_rate"])


def test_the_table_of_benchmarks_is_that_of_its_data():
    assert (record.FOLDER / "latest.md").read_text(encoding="utf-8") == table.markdown(record.read())
