"""Gathers run directories of mode=meta_train, and writes the record from what it stored.

python -m experiments.meta_training_architectures.record <run directory> ...
"""

import csv
import shutil
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from omegaconf import OmegaConf

from experiments.records import measured_with, provenance, read_provenance, table, write_provenance
from mulo.reporting import metrics
from mulo.reporting.labels import label

FOLDER = Path(__file__).parent
COLUMNS = ("run", "optimizer", "network", "outer_step", "validation_loss")
PREFIX = "validation_loss/"


def collect(runs: Sequence[Path]) -> None:
    """Stores of every run the settings, the validations of the first and the last θ, the last θ and the figure."""
    rows = []
    for run in runs:
        config = OmegaConf.load(run / "config.yaml")
        name = config.task.name
        validated = [row for row in metrics.read(run / "metrics.jsonl") if "validation_loss" in row]
        for row in (validated[0], validated[-1]):
            own = {key.removeprefix(PREFIX): value for key, value in row.items() if key.startswith(PREFIX)}
            rows += [(name, config.optimizer.name, net, int(row["outer_step"]), loss) for net, loss in own.items()]
        _store(run, name)
    with (FOLDER / "validation.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _store(run: Path, name: str) -> None:
    config = OmegaConf.merge(OmegaConf.load(run / "config.yaml"), {"run_dir": None})
    (FOLDER / f"{name}.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    shutil.copy(run / "meta_training.png", FOLDER / f"{name}.png")
    theta = FOLDER / f"theta_{name}"
    shutil.rmtree(theta, ignore_errors=True)
    best = run / "checkpoints" / "best"
    shutil.copytree(max(best.iterdir(), key=lambda path: int(path.name)), theta)


def _lines() -> list[list[object]]:
    with (FOLDER / "validation.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["run"], row["optimizer"], row["network"]), []).append(float(row["validation_loss"]))
    return [[run, label(optimizer), network, *losses] for (run, optimizer, network), losses in found.items()]


def readme() -> str:
    """The record's text, from the stored data alone."""
    lines = _lines()
    better = sum(last < first for *_, first, last in lines)
    runs = dict.fromkeys(line[0] for line in lines)
    pictures = "\n".join(f"![Meta-training, task={run}]({run}.png)" for run in runs)
    settings = ", ".join(f"[{run}.yaml]({run}.yaml)" for run in runs)
    return f"""# Meta-training on other architectures than MLPs

**Asked.** Does meta-training run on a transformer, a ViT and a mix of all four architectures, and does the last θ beat the first?

**Commands.** `python -m mulo.run mode=meta_train` with the settings stored in {settings}, then
`python -m experiments.meta_training_architectures.record <run directories>`.

Mean training loss over full unrolls of the longest length on held-out seeds, under the θ that meta-training began and ended with
(one meta-training each):

{table(["task", "optimizer", "network", "first θ", "last θ"], lines)}

{better} of {len(lines)} networks train better under the last θ. It is stored beside this page (`theta_<task>`), and the coordinate check over
[architectures](../coordinate_check_architectures) uses it.

{pictures}

{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
