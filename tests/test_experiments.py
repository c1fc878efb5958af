"""The text of every record is what its stored data say, and texts that quote records quote them right."""

import csv
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

import pytest
from omegaconf import OmegaConf

from benchmarks import record, table
from experiments import ledger
from mulo.reporting.record import write_up

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SETTINGS = ("optimizer.schedule", "optimizer.learning_rate")
RECORDS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/record.json"))


def results(name):
    """The rows of a record's trainings."""
    with (EXPERIMENTS / name / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def losses(name, split, *keys):
    """All losses of a record, by the values of columns."""
    values = defaultdict(list)
    for row in results(name):
        values[tuple(row[key] for key in keys)].append(float(row[split]))
    return values


def test_every_folder_is_a_record():
    assert {path.name for path in EXPERIMENTS.iterdir() if path.is_dir()} - {"__pycache__"} == {*RECORDS, "theta"}


@pytest.mark.parametrize("name", RECORDS)
def test_the_record_is_what_its_data_give(name, tmp_path):
    again = shutil.copytree(EXPERIMENTS / name, tmp_path / name)
    for text in ("README.md", "index.html"):
        (again / text).unlink()
    write_up(again)
    for text in ("README.md", "index.html"):
        assert (again / text).read_bytes() == (EXPERIMENTS / name / text).read_bytes()


def test_tables_follow_from_records_and_sweeps():
    for path, text in ledger.written().items():
        assert path.read_text(encoding="utf-8") == text


def test_the_ledger_counts_a_shared_meta_training_once():
    """By hand: two jobs share 60 s, a third tunes for 30 s; a later record has the shared one and 120 s of its own."""
    prepared = [{"shared": "a", "seconds": 60.0}, {"shared": "a", "seconds": 60.0}, {"shared": None, "seconds": 30.0}]
    seen: set[str] = set()
    assert ledger._prepared([{"preparation": preparation} for preparation in prepared], seen) == 90.0
    later = [{"shared": "a", "seconds": 60.0}, {"shared": "b", "seconds": 120.0}]
    assert ledger._prepared([{"preparation": preparation} for preparation in later], seen) == 120.0


def test_the_readme_says_how_its_first_picture_compares():
    """Medians by hand, over meta-seeds and seeds."""
    medians = {
        key: median(values) for key, values in losses("question_quick", "test_loss", "contestant", "width").items()
    }
    widths = ("16", "64", "128", "256", "512")
    assert all(medians["velo_mup", width] > medians["adamw", width] for width in widths)
    first, last = (
        f"{medians['velo_mup', w]:.3f} against {medians['adamw', w]:.3f} at width {w}" for w in ("16", "512")
    )
    text = " ".join((EXPERIMENTS.parent / "README.md").read_text("utf-8").split())
    assert f"behind tuned AdamW at every width: median test loss {first}, {last}." in text


def test_the_baselines_have_settings_as_good_as_any_that_the_record_tried():
    """To 0.01 nats, by mean training losses: means of ten seeds have standard errors of 0.003."""
    tried = losses("ablation_baseline_learning_rate", "train_loss", "contestant", *SETTINGS)
    means = {(name, schedule, float(rate)): mean(values) for (name, schedule, rate), values in tried.items()}
    for name in ("adamw", "mu_adam"):
        settings = OmegaConf.load(EXPERIMENTS.parent / f"conf/optimizer/{name}.yaml")
        tried_of_name = {key[1:]: value for key, value in means.items() if key[0] == name}
        assert (
            tried_of_name[settings.schedule, settings.learning_rate]
            < min(tried_of_name.values()) + 0.01
            < sorted(tried_of_name.values())[3]
        )


def test_the_best_learning_rate_stays_in_mup_and_falls_in_sp():
    """As the README says, on the transformer: at most a factor 2 in µP, over a factor 4 in SP."""
    tried = losses("figure_learning_rate", "train_loss", "task", "contestant", "width", "optimizer.learning_rate")

    def best(*key):
        means = {float(at[3]): mean(values) for at, values in tried.items() if at[:3] == ("transformer", *key)}
        return min(means, key=means.__getitem__)

    assert 0.5 <= best("mu_adam", "512") / best("mu_adam", "64") <= 2
    assert best("adamw", "512") / best("adamw", "64") < 0.25


def test_the_table_of_benchmarks_is_that_of_its_data():
    assert (record.FOLDER / "latest.md").read_text(encoding="utf-8") == table.markdown(record.read())
