"""Gathers the run directories of the baselines' learning-rate sweep, and writes the record from what it stored.

python -m experiments.baseline_learning_rate.record <run directory> ...
"""

import csv
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.records import measured_with, provenance, read_provenance, summaries, table, write_provenance
from mulo.reporting.labels import label

FOLDER = Path(__file__).parent
COLUMNS = ("optimizer", "schedule", "learning_rate", "width", "steps", "seeds", "train_loss", "test_loss", "test_error")


def collect(runs: list[Path]) -> None:
    """One row per job: its settings and its losses over seeds."""
    rows = []
    for run in runs:
        settings = OmegaConf.load(run / "config.yaml").optimizer
        (found,) = summaries(run / "results.csv")
        losses = (found.train_loss, found.test_loss, found.test_error)
        sizes = (found.width, found.num_steps, found.seeds)
        rows.append((settings.name, settings.schedule, settings.learning_rate, *sizes, *losses))
    with (FOLDER / "results.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _rows() -> list[Mapping[str, Any]]:
    with (FOLDER / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def best() -> dict[str, Mapping[str, Any]]:
    """The setting of each optimizer with the lowest training loss, the measure that the paper tunes by."""
    rows = _rows()
    names = dict.fromkeys(row["optimizer"] for row in rows)
    return {
        name: min((row for row in rows if row["optimizer"] == name), key=lambda row: float(row["train_loss"]))
        for name in names
    }


def readme() -> str:
    """The record's text, from the stored data alone."""
    winners = [
        f"{label(name)}: {row['schedule']}, learning rate {row['learning_rate']} (train loss {float(row['train_loss']):.3f})"
        for name, row in best().items()
    ]
    columns = ["optimizer", "schedule", "learning_rate"]
    rows = [
        [
            *(row[key] for key in columns),
            float(row["train_loss"]),
            f"{float(row['test_loss']):.3f} ± {float(row['test_error']):.3f}",
        ]
        for row in _rows()
    ]
    first = _rows()[0]
    return f"""# Which learning rates the baselines get

**Asked.** Which learning rate and schedule do AdamW and µAdam deserve beside a θ of `recipe=quick`? As in the paper, they are tuned
at one width ({first["width"]}, the largest of the meta-training) and carried over to the others.

**Commands.** Those of [sweeps/ablation/baseline_learning_rate.yaml](../../sweeps/ablation/baseline_learning_rate.yaml), then
`python -m experiments.baseline_learning_rate.record <run directories>`. {first["steps"]} steps, {first["seeds"]} seeds, root seed 0.

**Found.** {"; ".join(winners)}. These are the settings in `conf/optimizer/`.

{table(["optimizer", "schedule", "learning rate", "train loss", "test loss ± s.e."], rows)}

{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
