"""Gathers run directories of mode=coordinate_check over depth, and writes the record from what it stored.

python -m experiments.coordinate_check_depth.record <run directory> ...
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import pandas as pd

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
from mulo.reporting.coordinate_plot import coordinate_overview
from mulo.reporting.labels import label

FOLDER = Path(__file__).parent
SCHEMES = ("completep", "mup")
TOLERANCE = 0.1
SHOWN_MEASURE, SHOWN_TIME = "x_t - x_0", 2
"""Of the figure."""


def collect(runs: Sequence[Path]) -> None:
    """Copies table and settings of every run, under the name of its parametrization."""
    for run in runs:
        scheme = read_rows(run / "coordinate_check.csv")[0]["parametrization"]
        shutil.copy(run / "coordinate_check.csv", FOLDER / f"{scheme}.csv")
        shutil.copy(run / "config.yaml", FOLDER / f"{scheme}.yaml")
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _picture() -> None:
    rows = [row for rows in _tables().values() for row in rows]
    coordinate_overview(pd.DataFrame(rows), FOLDER / "transformer", "Transformer over depth", SHOWN_MEASURE, SHOWN_TIME)


def _tables() -> dict[str, list[Row]]:
    return {scheme: read_rows(FOLDER / f"{scheme}.csv") for scheme in SCHEMES}


def _slopes(found: Mapping[str, Sequence[Any]]) -> str:
    cells = {(v.measure, v.layer, scheme, v.t): _cell(v) for scheme, own in found.items() for v in own}
    places = dict.fromkeys(place[:2] for place in cells)
    columns = [(scheme, t) for scheme in found for t in sorted({place[3] for place in cells})]
    header = ["measure", "layer", *(f"{label(scheme)}, t = {t}" for scheme, t in columns)]
    return table(header, [[f"`{m}`", layer, *(cells[m, layer, *column] for column in columns)] for m, layer in places])


def _cell(verdict: Any) -> str:
    if verdict.outcome in ("constant", "undefined"):
        return verdict.outcome
    text = f"{verdict.slope:+.2f}"
    return text if verdict.outcome == "stable" else f"**{text}**"


def _summary(scheme: str, rows: Sequence[Row], found: Sequence[Any]) -> str:
    moving = [v for v in found if v.outcome != "constant"]
    stable = sum(v.outcome == "stable" for v in moving)
    late = sum(abs(_from_depth_to_depth(rows, v)[-1]) <= TOLERANCE for v in moving)
    worst = max(moving, key=lambda v: abs(v.slope))
    return (
        f"- {label(scheme)}: {stable} of {len(moving)} slopes are within ±{TOLERANCE:g}, from the last depth but one to the last "
        f"{late}. The largest is {worst.slope:+.2f} (`{worst.measure}`, {worst.layer}, t = {worst.t}). "
        f"Settings: [{scheme}.yaml]({scheme}.yaml)."
    )


def _from_depth_to_depth(rows: Sequence[Row], verdict: Any) -> list[float]:
    here = (verdict.measure, verdict.layer, verdict.t)
    own = [row for row in rows if (row["measure"], row["layer"], row["t"]) == here]
    return [log(b["std"] / a["std"]) / log(b["size"] / a["size"]) for a, b in pairwise(own)]


def _exceptions(rows: Sequence[Row], found: Sequence[Any]) -> str:
    header = ["measure", "layer", "t", *(f"{a} → {b}" for a, b in pairwise(sorted({row["size"] for row in rows})))]
    lines = [
        [f"`{v.measure}`", v.layer, str(v.t), *(f"{slope:+.2f}" for slope in _from_depth_to_depth(rows, v))]
        for v in found
        if v.outcome == "unstable"
    ]
    return table(header, lines)


def readme() -> str:
    """The record's text, from the stored data alone."""
    tables = _tables()
    found = {scheme: verdicts(rows, TOLERANCE) for scheme, rows in tables.items()}
    depths = ", ".join(map(str, sorted({row["size"] for row in tables["completep"]})))
    summary = "\n".join(_summary(scheme, tables[scheme], own) for scheme, own in found.items())
    return f"""# Coordinate check over depth

**Asked.** Do a transformer's pre-activations move by amounts that do not depend on depth under CompleteP (arXiv 2505.01618), and
under µP do they? Slopes of log std over log depth, at depths {depths} and one width, under µAdam; measures as in
[../coordinate_check](../coordinate_check). `block_last` is the last block of each network. A slope outside ±{TOLERANCE:g} is bold.

**Command.** `python -m mulo.run -m --config-dir sweeps +figure=coordinate_check_depth`, then
`python -m experiments.coordinate_check_depth.record runs/...`.

**Found.**

{summary}

Under CompleteP no slope is far from 0, but at these depths not every one is within the tolerance: the job says so and returns 1. What is outside flattens out with depth (second table), as what the rule leaves at finite depth L does: the
first block's MLP feels its own block's attention through the factor 1/L, and L − 1 of L branches lie below the last block. The movement
of the last block's own keys starts only when the queries have left 0, and scatters from seed to seed by about 40%.

Under µP the last block moves several times as far in deep networks after two steps; later the layers below, the
embeddings included, move less. Adam's ε, which CompleteP scales with depth, is there as
large as the gradients of the last block's keys.

{_slopes(found)}

Slopes from each depth to the next, of what is outside under CompleteP:

{_exceptions(tables["completep"], found["completep"])}

The figure shows `{SHOWN_MEASURE}` at t = {SHOWN_TIME}.

![Movements over depth](transformer.png)

{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
        _picture()
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
