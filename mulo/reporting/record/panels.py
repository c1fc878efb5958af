"""Final losses over one axis (width, depth, steps or a setting): the points that pictures and pages draw."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mulo.evaluation.statistics import Spread
from mulo.reporting.labels import label_of_family
from mulo.reporting.record.cells import Cells, Place, as_number, differing, spread_of
from mulo.reporting.record.contents import Loss, Record

_AXES = {"over_width": "width", "over_depth": "depth", "over_steps": "steps"}


class Point(NamedTuple):
    """One contestant at one place."""

    x: float
    """Its place in `Panel.ticks` where the axis has no numbers."""
    train: Spread
    test: Spread


class Panel(NamedTuple):
    """Places that differ in the axis alone."""

    title: str
    task: str
    axis: str
    ticks: list[str]
    """All values of the axis."""
    numeric: bool
    lines: dict[str, list[Point]]
    """By contestant, x ascending."""
    ceiling: float
    """Where the axis of losses ends at most."""


def axis_of(record: Record) -> str:
    """What the sweep's picture is over; `width` where that is no size."""
    return record.sweep.setting or _AXES.get(record.sweep.figure, "width")


def panels(record: Record, cells: Cells) -> list[Panel]:
    """One for every combination of what varies beside the axis."""
    axis = axis_of(record)
    groups: dict[Place, Cells] = {}
    for place, own in cells.items():
        groups.setdefault(_without(record, place, axis), {})[place] = own
    return [_panel(record, cells, axis, group, own) for group, own in groups.items()]


def _without(record: Record, place: Place, axis: str) -> Place:
    if axis in Place._fields:
        return Place._make(0 if name == axis else old for name, old in place._asdict().items())
    others = [v for key, v in zip(record.varied, place.settings, strict=True) if key != axis]
    return place._replace(settings=tuple(others))


def value(record: Record, place: Place, axis: str) -> str:
    """Where a place stands on the axis."""
    return str(getattr(place, axis) if axis in Place._fields else dict(_settings(record, place)).get(axis, ""))


def _settings(record: Record, place: Place) -> Sequence[tuple[str, str]]:
    return list(zip(record.varied, place.settings, strict=True))


def _panel(record: Record, cells: Cells, axis: str, group: Place, own: Cells) -> Panel:
    ticks = list(dict.fromkeys(value(record, place, axis) for place in own))
    numbers = [as_number(tick) for tick in ticks]
    numeric = all(number is not None for number in numbers)
    lines: dict[str, list[Point]] = {}
    for place, contestants in own.items():
        tick = value(record, place, axis)
        x = as_number(tick) if numeric else float(ticks.index(tick))
        for name, rows in contestants.items():
            point = Point(float(x or 0.0), spread_of(rows, "train_loss"), spread_of(rows, "test_loss"))
            lines.setdefault(name, []).append(point)
    ordered = {name: sorted(points) for name, points in lines.items()}
    most = ceiling([row for found in own.values() for rows in found.values() for row in rows])
    return Panel(title(record, cells, next(iter(own)), axis), group.task, axis, ticks, numeric, ordered, most)


def ceiling(rows: Iterable[Loss]) -> float:
    """Four times the largest loss before the first step, inf where none is known: above it nothing was learned."""
    starts = [row.initial_loss for row in rows if math.isfinite(row.initial_loss)]
    return 4 * max(starts, default=math.inf)


def title(record: Record, cells: Cells, place: Place, axis: str = "") -> str:
    """What tells a place, or those of a panel, from the others; of a single panel what they are."""
    differs = dict(differing(cells, record))
    index = list(cells).index(place)
    what = [label_of_family(place.task)] if "task" in differs or len(differs) < 2 else []
    what += [f"on {place.data}"] if "data" in differs or len(differs) < 2 else []
    others = [f"{key} {values[index]}" for key, values in differs.items() if key not in ("task", "data", axis)]
    return ", ".join([" ".join(what), *others] if what else others)
