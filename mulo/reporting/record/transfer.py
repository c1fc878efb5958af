"""Does a setting's best value stay the same over widths? Verdicts and table of a record with figure=transfer."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from mulo.reporting import style
from mulo.reporting.html import Table
from mulo.reporting.labels import label_of_family
from mulo.reporting.record.contents import Record, as_number
from mulo.reporting.record.panels import ceiling
from mulo.reporting.record.trainings import spreads
from mulo.reporting.record.verdicts import FAILS, HOLDS, UNDECIDED

TOLERANCE = 2.0
EXPLAINED = (
    "The best value at a width has the lowest mean training loss over all seeds; a seed that diverged or failed counts "
    f"as infinite. A setting transfers where its best values are within a factor of {TOLERANCE:g} (to two digits) and "
    "inside the grid, neither its first nor its last value."
)


class Transfer(NamedTuple):
    """One method under conditions that differ in their width and the setting alone."""

    method: str
    task: str
    """As printed, with the values in which several groups of conditions of one task differ."""
    points: dict[int, pd.DataFrame]
    """By width: condition, value of the setting, ascending, and mean, median, low and high of the training loss."""
    ceiling: float
    """Where the axis of losses ends at most."""

    @property
    def best(self) -> dict[int, float]:
        """The best value by width, of equals the smallest; nan where no mean is finite."""
        lowest = {width: rows.loc[rows["mean"].idxmin()] for width, rows in self.points.items()}
        return {width: row["value"] if np.isfinite(row["mean"]) else np.nan for width, row in lowest.items()}

    @property
    def ratio(self) -> float:
        """Of the largest best value to the smallest, to two digits, because values of a grid are rounded."""
        best = pd.Series(self.best)
        return float(f"{best.max() / best.min():.2g}")

    @property
    def outside(self) -> list[int]:
        """Widths whose best value is not inside the grid."""
        inside = {width: rows.value.iloc[1:-1] for width, rows in self.points.items()}
        return [width for width, best in self.best.items() if best not in set(inside[width])]

    @property
    def outcome(self) -> str:
        """`undecided` where there is one width, or values beyond the grid might be better."""
        if self.ratio > TOLERANCE:
            return FAILS
        return UNDECIDED if self.outside or len(self.points) < 2 else HOLDS


def transfers(record: Record) -> list[Transfer]:
    """By task and method; none where another figure is asked for or the setting does not vary."""
    setting, rows = record.sweep.setting, record.trainings
    if record.sweep.figure != "transfer" or setting not in rows:
        return []
    rows = rows.assign(mean=rows.train.fillna(np.inf), value=rows[setting].map(as_number).astype(float))
    means = rows.groupby(["condition", "name", "value"], as_index=False)["mean"].mean()
    points = spreads(record, "train").merge(means).join(record.conditions, on="condition").sort_values("value")
    others = [key for key in record.conditions if key not in ("width", setting)]
    several = [key for key in others if record.conditions.groupby("task")[key].nunique().max() > 1]
    transfers = []
    for _, group in points.groupby(others):
        task = ", ".join([label_of_family(group.task.iloc[0]), *(f"{key} {group[key].iloc[0]}" for key in several)])
        most = ceiling(rows[rows.condition.isin(group.condition)])
        for name in [name for name in record.names.values() if name in set(group.name)]:
            transfers.append(Transfer(name, task, dict(list(group[group.name == name].groupby("width"))), most))
    return transfers


def setting(record: Record) -> str:
    """In words: `learning rate` of optimizer.learning_rate."""
    return str(record.sweep.setting).rpartition(".")[2].replace("_", " ")


def colors(record: Record) -> dict[int, str]:
    """#rrggbb of each width, the smallest darkest."""
    widths = sorted(record.conditions.width.unique())
    return dict(zip(widths, style.sequence(len(widths)), strict=True))


def sentences(record: Record) -> list[str]:
    """Whether the setting transfers, a sentence for each method and task."""
    return [_sentence(result, setting(record)) for result in transfers(record)]


def _sentence(result: Transfer, name: str) -> str:
    ratio = f"a factor of {result.ratio:g}"
    factor = f"within {ratio}" if result.ratio <= TOLERANCE else f"{ratio} apart"
    grid = f" but not inside the grid at {_widths(result.outside)}" if result.outside else " and inside the grid"
    values = ", ".join(f"{value:g}" for value in result.best.values())
    best = f"best {name} {values} at {_widths(result.best)}"
    return f"**{result.outcome}**: {result.method} on the {result.task}: {best}: {factor}{grid}."


def _widths(widths: Iterable[int]) -> str:
    texts = list(map(str, widths))
    return f"width{'s' * (len(texts) > 1)} {', '.join(texts)}"


def table(record: Record) -> Table:
    """A row per method and task, a column per width."""
    widths = colors(record)
    rows = [
        [row.method, row.task, *(f"{row.best[w]:g}" if w in row.best else "–" for w in widths), f"{row.ratio:g}",
         "no" if row.outside else "yes", row.outcome]
        for row in transfers(record)
    ]  # fmt: skip
    header = ["method", "task", *(f"width {width}" for width in widths), "largest / smallest", "inside the grid"]
    return Table([*header, "transfers"], rows, f"Best {setting(record)} by width")
