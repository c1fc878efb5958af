"""Gathers the run directories of three main jobs, and writes the record from what it stored.

python -m experiments.quick_preset.record <run directory of seed 0> <of seed 1> <of seed 2>
"""

import csv
import shutil
import sys
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.records import measured_with, provenance, read_provenance, table, write_provenance
from mulo.evaluation.results import RESULTS, trainings
from mulo.reporting import metrics

FOLDER = Path(__file__).parent
FIGURES = ("loss_over_width", "curves")


def collect(runs: list[Path]) -> None:
    """Copies what the record needs out of the run directories, one per meta-training seed."""
    validation = []
    for seed, run in enumerate(runs):
        losses = [row for row in metrics.read(run / "metrics.jsonl") if "validation_loss" in row]
        ends = (losses[0], losses[-1])
        validation += [(seed, int(row["outer_step"]), row["validation_loss"]) for row in ends]
        RESULTS.write(RESULTS.read(run / "evaluation" / "results.csv"), FOLDER / f"results_seed{seed}.csv")
    with (FOLDER / "validation.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("seed", "outer_step", "validation_loss"), *validation])
    for name in FIGURES:
        for kind in ("png", "svg"):
            shutil.copy(runs[0] / "evaluation" / f"{name}.{kind}", FOLDER / f"{name}.{kind}")
    shutil.copy(runs[0] / "meta_training.png", FOLDER / "meta_training.png")
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _validation() -> list[dict[str, Any]]:
    with (FOLDER / "validation.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _losses(seed: int) -> dict[str, dict[int, list[float]]]:
    found: dict[str, dict[int, list[float]]] = {}
    for row in trainings(RESULTS.read(FOLDER / f"results_seed{seed}.csv")).itertuples():
        found.setdefault(row.method, {}).setdefault(row.width, []).append(row.test)
    return found


def behind() -> str:
    """How µVeLO of the figure, meta-training seed 0, compares with AdamW on test losses; a sentence, also README's."""
    own = _losses(0)
    widths = sorted(own["velo_mup"])
    pairs = [(mean(own["velo_mup"][width]), mean(own["adamw"][width])) for width in widths]
    worse = sum(velo > adamw for velo, adamw in pairs)
    where = "at every width" if worse == len(widths) else f"at {worse} of {len(widths)} widths"
    (first, first_adamw), (last, last_adamw) = pairs[0], pairs[-1]
    return (
        f"µVeLO is behind tuned AdamW {where}: test loss {first:.3f} against {first_adamw:.3f} at width {widths[0]}, "
        f"{last:.3f} against {last_adamw:.3f} at width {widths[-1]}."
    )


def readme() -> str:
    """The record's text, from the stored data alone."""
    rows = _validation()
    pairs = [(float(rows[i]["validation_loss"]), float(rows[i + 1]["validation_loss"])) for i in range(0, len(rows), 2)]
    by_seed = [_losses(seed) for seed in range(len(pairs))]
    widths = sorted(by_seed[0]["velo_mup"])
    better = sum(final < initial for initial, final in pairs)
    velo = [[mean(losses["velo_mup"][width]) for width in widths] for losses in by_seed]
    falls = sum(row[-1] <= row[0] for row in velo)
    rises = max(later - min(row[:i]) for row in velo for i, later in enumerate(row) if i)
    others = [(name, [mean(by_seed[0][name][width]) for width in widths]) for name in ("adamw", "mu_adam")]
    lines = [[f"µVeLO, meta-training seed {seed}", *row] for seed, row in enumerate(velo)]
    lines += [[{"adamw": "AdamW", "mu_adam": "µAdam"}[name], *row] for name, row in others]
    return f"""# What minutes of meta-training give

**Asked.** Does `recipe=quick` meta-train a µVeLO whose final θ beats the initial one on held-out full unrolls with the same
seeds, and does its loss stay flat or fall with width, up to eight times the largest width it was meta-trained on?

**Command.** `python -m mulo.run seed=0` (the default main job), and `seed=1`, `seed=2`; then
`python -m experiments.quick_preset.record <the three run directories>`. Biases and output matrix start at 0 under µP.

**Found.** The final θ beats the initial one in {better} of {len(pairs)} seeds. The test loss at width {widths[-1]} is at or
below that at width {widths[0]} in {falls} of {len(pairs)} seeds; the largest rise above the lowest loss at any smaller width
is {max(rises, 0.0):.3f} nats. AdamW and µAdam, with settings tuned at width 64
([sweeps/ablation](../../sweeps/ablation/baseline_learning_rate.yaml)), stand beside it. With meta-training seed 0
{behind()}

Mean clipped loss over whole unrolls of 200 steps on 16 held-out seeds per meta-training width, in nats:

{table(["meta-training seed", "initial θ", "final θ"], [[seed, *pair] for seed, pair in enumerate(pairs)])}

Test loss after 200 steps, mean of 3 evaluation seeds (meta-trained on widths 16 and 64; spread in `results_seed*.csv` and the figure):

{table(["optimizer", *(f"width {width}" for width in widths)], lines)}

![Loss over width, meta-training seed 0](loss_over_width.png)
![Curves at the largest width, meta-training seed 0](curves.png)
![Meta-training, seed 0](meta_training.png)

{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
    (FOLDER / "README.md").write_text(readme(), "utf-8")
