"""Final losses over one axis (width, depth, steps or a setting): the points that pictures and pages draw."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from mulo.reporting.labels import label_of_family
from mulo.reporting.record.contents import Record, as_number
from mulo.reporting.record.trainings import differing, spreads

_AXES = {"over_width": "width", "over_depth": "depth", "over_steps": "num_steps"}


class Panel(NamedTuple):
    """Conditions that differ in the axis alone."""

    title: str
    task: str
    axis: str
    ticks: list[str]
    """All values of the axis."""
    numeric: bool
    points: dict[str, pd.DataFrame]
    """By split: name, x (the index in `ticks` where the axis has no numbers), median, low, high, exploded, seeds."""
    ceiling: float
    """Where the axis of losses ends at most."""


def panels(record: Record) -> list[Panel]:
    """One for every combination of what varies beside the axis; the width where the sweep's picture has none."""
    axis = record.sweep.setting or _AXES.get(record.sweep.figure, "width")
    others = [name for name in record.conditions if name != axis]
    points = {split: spreads(record, split) for split in ("train", "test")}
    return [_panel(record, axis, members, points) for _, members in record.conditions.groupby(others, sort=False)]


def _panel(record: Record, axis: str, conditions: pd.DataFrame, spreads_of: Mapping[str, pd.DataFrame]) -> Panel:
    values = conditions[axis].astype(str) if axis in conditions else pd.Series("", conditions.index)
    ticks = list(values.unique())
    numeric = all(as_number(tick) is not None for tick in ticks)
    x = values.map(float if numeric else ticks.index).astype(float)
    points = {
        split: every[every.condition.isin(conditions.index)]
        .assign(x=every.condition.map(x))
        .sort_values("x", kind="stable")
        for split, every in spreads_of.items()
    }
    rows = record.trainings[record.trainings.condition.isin(conditions.index)]
    first = conditions.index[0]
    return Panel(title(record, first, axis), conditions.task[first], axis, ticks, numeric, points, ceiling(rows))


def ceiling(rows: pd.DataFrame) -> float:
    """Four times the largest loss before the first step; inf where none is known."""
    starts = rows.initial[np.isfinite(rows.initial)]
    return 4 * starts.max() if len(starts) else np.inf


def title(record: Record, condition: int, axis: str = "") -> str:
    """The values in which a condition, or those of a panel, differ from the others; of a single panel all of them."""
    texts, row = differing(record.conditions), record.conditions.loc[condition]
    what = [label_of_family(row.task)] if "task" in texts or len(texts.columns) < 2 else []
    what += [f"on {row.data}"] if "data" in texts or len(texts.columns) < 2 else []
    others = [f"{key} {texts.loc[condition, key]}" for key in texts if key not in ("task", "data", axis)]
    return ", ".join([" ".join(what), *others] if what else others)
