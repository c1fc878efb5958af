"""Gathers the runs of the sweeps of µAdam's learning rate on the transformer, and writes the record.

python -m experiments.learning_rate_transformer.record <run directory> ...
"""

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.records import measured_with, provenance, read_provenance, summaries, table, write_provenance
from mulo.reporting import style
from mulo.reporting.labels import label

FOLDER = Path(__file__).parent
COLUMNS = ("parametrization", "learning_rate", "width", "steps", "seeds", "train_loss", "train_error", "diverged")
SCHEMES = ("mup", "sp")


def collect(runs: Sequence[Path]) -> None:
    """One row per run and width."""
    rows = []
    for run in runs:
        rate = OmegaConf.load(run / "config.yaml").optimizer.learning_rate
        for found in summaries(run / "results.csv"):
            ends = (found.train_loss, found.train_error, found.diverged)
            rows.append((found.parametrization, rate, found.width, found.num_steps, found.seeds, *ends))
    with (FOLDER / "results.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])
    for scheme in SCHEMES:
        first = next(run for run in runs if OmegaConf.load(run / "config.yaml").task.parametrization == scheme)
        (FOLDER / f"{scheme}.yaml").write_text((first / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _rows() -> list[Mapping[str, Any]]:
    with (FOLDER / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _curves(scheme: str) -> dict[int, dict[float, float]]:
    """Training loss by width and learning rate; inf where a seed diverged."""
    found: dict[int, dict[float, float]] = {}
    for row in _rows():
        if row["parametrization"] == scheme:
            loss = math.inf if int(row["diverged"]) else float(row["train_loss"])
            found.setdefault(int(row["width"]), {})[float(row["learning_rate"])] = loss
    return dict(sorted(found.items()))


def best(scheme: str) -> dict[int, float]:
    """The learning rate with the lowest training loss, by width."""
    return {width: min(losses, key=losses.__getitem__) for width, losses in _curves(scheme).items()}


def steps_moved(scheme: str) -> float:
    """Grid steps (factors of 2) between the best learning rates of any two widths, at most."""
    rates = [math.log2(rate) for rate in best(scheme).values()]
    return round(max(rates) - min(rates))


def draw() -> None:
    """Loss over learning rate, a line per width, for both parametrizations; the best of each is ringed."""
    with style.picture(FOLDER / "loss_over_learning_rate", 1, len(SCHEMES), (7.6, 3.1), sharey=True) as (figure, axes):
        for panel, scheme in zip(axes[0], SCHEMES, strict=True):
            curves = _curves(scheme)
            for color, (width, losses) in zip(style.sequence(len(curves)), curves.items(), strict=True):
                panel.plot(list(losses), list(losses.values()), color=color, marker="o", markersize=3.5, label=width)
                rate = best(scheme)[width]
                panel.plot(rate, losses[rate], "o", markersize=9, fillstyle="none", color=color)
            panel.set_xscale("log", base=2)
            rates = sorted({rate for losses in curves.values() for rate in losses})
            panel.set_xticks(rates, [f"{rate:g}" for rate in rates], fontsize=8)
            panel.set_xlabel("learning rate")
            panel.set_title(label(scheme))
        axes[0, 0].set_ylabel("training loss")
        axes[0, -1].legend(title="width")
        figure.suptitle("µAdam on the transformer: loss over learning rate (rings: best)")


def readme() -> str:
    """The record's text, from the stored data alone."""
    rows = _rows()
    moved = {scheme: steps_moved(scheme) for scheme in SCHEMES}
    lines = [[label(scheme), *(f"{rate:g}" for rate in best(scheme).values()), moved[scheme]] for scheme in SCHEMES]
    widths = list(best("mup"))
    stays = "stays within one grid step" if moved["mup"] <= 1 else f"moves by {moved['mup']} grid steps"
    moves = f"moves by {moved['sp']}" if moved["sp"] > 1 else f"moves by {moved['sp']} only"
    return f"""# The transformer's learning rate over width

**Asked.** Does µAdam's best learning rate stay where it is from width {widths[0]} to {widths[-1]} under µP, and move under SP?

**Commands.** `python -m mulo.run -m --config-dir sweeps +figure=learning_rate_transformer_mup`, the same with `_sp`, then
`python -m experiments.learning_rate_transformer.record runs/...`. Settings: [mup.yaml](mup.yaml), [sp.yaml](sp.yaml).

**Found.** Under µP the best learning rate {stays} (factor 2); under SP it {moves}. {rows[0]["seeds"]} seeds, {rows[0]["steps"]} steps, training loss on
fixed examples; the standard error over seeds is at most {max(float(row["train_error"]) for row in rows if row["train_error"] != "nan"):.3f} ([results.csv](results.csv)). µP's learning rates are divided by fan-in on hidden
matrices, so the two grids lie elsewhere.

{table(["task in", *(f"best at {width}" for width in widths), "grid steps moved"], lines)}

![Loss over learning rate](loss_over_learning_rate.png)

{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
        draw()
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
