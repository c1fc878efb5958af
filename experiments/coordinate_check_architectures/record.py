"""Gathers run directories of mode=coordinate_check over architectures, and writes the record from what it stored.

python -m experiments.coordinate_check_architectures.record <run directory> ...
"""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

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
from mulo.evaluation.coordinate_rows import CHANGES
from mulo.reporting.coordinate_plot import coordinate_overview
from mulo.reporting.labels import label, label_of_family

FOLDER = Path(__file__).parent
FAMILIES = ("mlp", "transformer", "vit", "resnet")
TOLERANCE = 0.1
SHOWN_MEASURE, SHOWN_TIME = "x_t - x_0", 2
"""Of the figures."""
ENDS = ("input", "embedding", "positions", "output")
"""Layers that are no hidden ones."""


def collect(runs: Sequence[Path]) -> None:
    """Copies the rows of every run into one table per architecture, with the settings and a figure of each."""
    found: dict[str, list[Row]] = {}
    settings: dict[str, str] = {}
    for run in runs:
        config = OmegaConf.load(run / "config.yaml")
        found.setdefault(config.task.name, []).extend(read_rows(run / "coordinate_check.csv"))
        if config.checkpoint is None:
            settings[config.task.name] = OmegaConf.to_yaml(config)
    for family, rows in found.items():
        CHANGES.write(pd.DataFrame(rows), FOLDER / f"{family}.csv")
        (FOLDER / f"{family}.yaml").write_text(settings[family], encoding="utf-8")
    write_provenance(FOLDER, provenance(date=str(date.today())))


def _pictures() -> None:
    for family, rows in _tables().items():
        title = f"{label_of_family(family)}: movements of pre-activations over width"
        coordinate_overview(pd.DataFrame(rows), FOLDER / family, title, SHOWN_MEASURE, SHOWN_TIME)


def _tables() -> dict[str, list[Row]]:
    paths = {family: FOLDER / f"{family}.csv" for family in FAMILIES}
    return {family: read_rows(path) for family, path in paths.items() if path.exists()}


def _line(rows: Sequence[Row], optimizer: str, parametrization: str) -> list[str]:
    own = [row for row in rows if (row["method"], row["parametrization"]) == (optimizer, parametrization)]
    found = verdicts(own, TOLERANCE)
    moving = [verdict for verdict in found if verdict.outcome in ("stable", "unstable")]
    stable = sum(verdict.outcome == "stable" for verdict in moving)
    undefined = sum(verdict.outcome == "undefined" for verdict in found)
    early = [v.slope for v in moving if v.t <= 2 and v.layer not in ENDS]
    span = f"{min(early):+.2f} … {max(early):+.2f}" if early else "–"
    worst = max(moving, key=lambda verdict: abs(verdict.slope))
    where = f"{worst.slope:+.2f} (`{worst.measure}`, {worst.layer}, t = {worst.t})"
    widths = ", ".join(str(width) for width in sorted({row["size"] for row in own}))
    return [label(optimizer), label(parametrization), widths, f"{stable} of {len(moving)}", str(undefined), span, where]


def _section(family: str, rows: Sequence[Row]) -> str:
    pairs = dict.fromkeys((row["method"], row["parametrization"]) for row in rows)
    header = [
        "optimizer",
        "task in",
        "widths",
        f"within ±{TOLERANCE:g}",
        "cannot be judged",
        "hidden layers, t ≤ 2",
        "largest",
    ]
    lines = table(header, [_line(rows, *pair) for pair in pairs])
    unstable = [
        f"- {label(v.method)}: {v.slope:+.2f} at `{v.measure}`, {v.layer}, t = {v.t}"
        for v in verdicts([row for row in rows if row["parametrization"] != "sp"], TOLERANCE)
        if v.failed
    ]
    exceptions = "\n".join(["Outside under µP:", "", *unstable]) if unstable else "Under µP no slope is outside."
    return f"""## {label_of_family(family)}

Settings of the runs under µAdam: [{family}.yaml]({family}.yaml).

{lines}

{exceptions}

![Movements in {label_of_family(family)}]({family}.png)
"""


def _gradient_scale() -> str:
    found = verdicts(read_rows(FOLDER / "gradient_scale.csv"), TOLERANCE)
    names = dict.fromkeys(verdict.method for verdict in found)
    counts = {name: [v for v in found if v.method == name and v.outcome != "constant"] for name in names}
    plain, scaled = (f"{sum(v.outcome == 'stable' for v in own)} of {len(own)}" for own in counts.values())
    return f"""**Why learned optimizers' slopes are bent.** µP's gradients fall as 1/width, and the features of learned optimizers have constants
(1e-5 in the normaliser, 1e-6 beside v, 1e-9 in Adafactor's factors) below which they are not free of scale. On the transformer, under the θ of the
mixed meta-training, {plain} slopes are within ±{TOLERANCE:g} as gradients are, and {scaled} when every gradient is multiplied by the width
(`python -m experiments.coordinate_check_architectures.gradient_scale`, [gradient_scale.csv](gradient_scale.csv)). What remains then is mostly attention's
logits, queries and keys: sums over the head's entries of which only a part is aligned at first, and the rest falls as 1/√width."""


def readme() -> str:
    """The record's text, from the stored data alone."""
    sections = "\n".join(_section(family, rows) for family, rows in _tables().items())
    return f"""# Coordinate check over architectures

**Asked.** Do pre-activations move alike at every width under µP on every architecture and for every class of update (Adam's,
small_fc's, VeLO's, Celo2's), embeddings, attention logits and readout included, and in SP not? Slopes of log std over log width;
`x_t - x_0` and `(W_t - W_0) x` as in [../coordinate_check](../coordinate_check), the second where a layer has a matrix.

**Commands.** `python -m mulo.run -m --config-dir sweeps +figure=coordinate_check_transformer` (and `_mlp`,
`_vit`, `_resnet`), and under a learned optimizer as the header of those files says; then `python -m experiments.coordinate_check_architectures.record runs/...`.

{_gradient_scale()}

Under the learned optimizers (θ from [meta_training_architectures](../meta_training_architectures)) the output matrix starts at N(0, 1) and the
queries at N(0, 1/n): without a gradient, as below an output of 0, a learned optimizer's updates mean nothing.

Figures show `{SHOWN_MEASURE}` at t = {SHOWN_TIME}. Movements that are exactly 0 at every width, such as those before a zero output has moved, are left out.

{sections}
{measured_with(read_provenance(FOLDER))}
"""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        collect([Path(path) for path in sys.argv[1:]])
        _pictures()
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
