"""The text of every record is what its stored data say, and texts that quote records quote them right."""

import csv
import shutil
from collections import defaultdict
from itertools import pairwise
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
    others = {"recipe_search", "theta", "__pycache__"}
    assert {path.name for path in EXPERIMENTS.iterdir() if path.is_dir()} - others == set(RECORDS)


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
    values = defaultdict(list)
    for row in results("question_quick"):
        if row["split"] == "test":
            values[row["method"], row["width"]].append(float(row["loss"]))
    medians = {key: median(of_seeds) for key, of_seeds in values.items()}
    others = {
        "of its own start": "mucelo2_orthogonal_theta0",
        "of AdamW": "adamw",
        "of µAdam": "mu_adam",
    }
    learned = {width: loss for (name, width), loss in medians.items() if name == "mucelo2_orthogonal"}
    assert len(learned) == 5
    assert all(loss < medians[other, width] for width, loss in learned.items() for other in others.values())
    text = " ".join((EXPERIMENTS.parent / "README.md").read_text("utf-8").split())
    for width in ("64", "256"):
        start, adamw, mu_adam = (f"{medians[name, width]:.3f} {words}" for words, name in others.items())
        assert f"{learned[width]:.3f} at width {width}, against {start}, {adamw} and {mu_adam}" in text


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


def best_rates():
    """By method and task, at each width: all rates and the one with the lowest mean training loss."""
    values = defaultdict(list)
    for row in results("figure_learning_rate"):
        if row["split"] == "train":
            rate = float(row["optimizer.learning_rate"])
            values[row["method"], row["task"], int(row["width"]), rate].append(float(row["loss"]))
    assert all(len(losses) == (5 if task == "mlp" else 3) for (_, task, *_), losses in values.items())
    best = defaultdict(dict)
    for method, task, width in {key[:3] for key in values}:
        means = {key[3]: mean(losses) for key, losses in values.items() if key[:3] == (method, task, width)}
        best[method, task][width] = sorted(means), min(means, key=means.__getitem__)
    return best


@pytest.mark.parametrize("task", ["mlp", "transformer"])
@pytest.mark.parametrize("method", ["mu_adam", "nadamw_mup", "muon_mup", "schedule_free_mup"])
def test_the_best_learning_rate_stays_in_mup(method, task):
    """Within a factor of 2 from width 64 to 512, inside a grid of steps of √2."""
    best = best_rates()[method, task]
    assert set(best) == {64, 128, 256, 512}
    for rates, rate in best.values():
        assert rates[0] < rate < rates[-1]
        assert all(after / before < 1.45 for before, after in pairwise(rates))
    rates = [rate for _, rate in best.values()]
    assert max(rates) / min(rates) < 2.05


def test_the_best_learning_rate_falls_in_sp():
    """As the README says, on the transformer: by a factor of 8."""
    best = best_rates()["adamw", "transformer"]
    assert best[512][1] / best[64][1] < 0.25


def test_the_table_of_benchmarks_is_that_of_its_data():
    assert (record.FOLDER / "latest.md").read_text(encoding="utf-8") == table.markdown(record.read())
