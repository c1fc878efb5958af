"""Gathers run directories of mode=coordinate_check, and writes the record from what it stored.

python -m experiments.coordinate_check.record <run directory> ...
"""

import shutil
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from experiments.records import (
    Row,
    measured_with,
    provenance,
    read_provenance,
    read_rows,
    table,
    verdicts,
    write_provenance,
)
from mulo.reporting.labels import label

FOLDER = Path(__file__).parent
TOLERANCE = 0.1


def collect(runs: list[Path]) -> None:
    """Copies table, figure and settings of every run, under the run directory's name."""
    for run in runs:
        for kind in ("csv", "png", "svg"):
            shutil.copy(run / f"coordinate_check.{kind}", FOLDER / f"{run.name}.{kind}")
        shutil.copy(run / "config.yaml", FOLDER / f"{run.name}.yaml")
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _tables() -> dict[str, list[Row]]:
    return {path.stem: read_rows(path) for path in sorted(FOLDER.glob("*.csv"))}


def _slopes(found: Iterable[Any]) -> str:
    found = list(found)
    times = sorted({verdict.t for verdict in found})
    places = dict.fromkeys((verdict.measure, verdict.layer) for verdict in found)
    by_place = {(verdict.measure, verdict.layer, verdict.t): verdict for verdict in found}
    rows = [[f"`{m}`", layer, *(_cell(by_place[m, layer, t]) for t in times)] for m, layer in places]
    return table(["measure", "layer", *(f"t = {t}" for t in times)], rows)


def _cell(verdict: Any) -> str:
    if verdict.outcome in ("constant", "undefined"):
        return verdict.outcome
    text = f"{verdict.slope:+.3f}"
    return text if verdict.outcome == "stable" else f"**{text}**"


def _section(name: str, rows: list[Row]) -> str:
    found = verdicts(rows, TOLERANCE)
    parametrization = "µP" if rows[0]["parametrization"] == "mup" else "SP"
    widths = sorted({row["size"] for row in rows})
    stable, still = (sum(verdict.outcome == kind for verdict in found) for kind in ("stable", "constant"))
    return f"""## {name}: {label(rows[0]["method"])}, task in {parametrization}

{stable} of {len(found) - still} slopes are within ±{TOLERANCE:g} over widths {widths[0]}…{widths[-1]}; the others are bold. {still} movements are
constant: exactly 0 at every width.
Settings: [{name}.yaml]({name}.yaml).

{_slopes(found)}

![Coordinate check of {name}]({name}.png)
"""


def readme() -> str:
    """The record's text, from the stored data alone."""
    sections = "\n".join(_section(name, rows) for name, rows in _tables().items())
    return f"""# Coordinate check

**Asked.** Under µP, do the pre-activations of every layer move by amounts that do not depend on width, and under SP do they not?
Slope of log std over log width, by least squares, of `x_t - x_0` and of `(W_t - W_0) x`, the second being what the movement of a
layer's own matrix adds (bias updates can hide dead weights from the first).

**Commands.** `python -m mulo.run mode=coordinate_check` with the settings stored beside each table, then
`python -m experiments.coordinate_check.record <run directories>`.

Under SP the layers above the input move further in wider networks: slopes of 0.3 and more are what is expected there. µP holds still only
what follows the gradient: `small_fc_mup_quick` is a θ that minutes of meta-training at σ = 0.03 left with first steps that do
not, and it fails where the gradient is 0 (t = 1, while the output matrix is 0).

{sections}
{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
