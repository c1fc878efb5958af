"""The picture of a record of coordinate checks."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mulo.evaluation.coordinate_rows import Row
from mulo.reporting.coordinate_plot import coordinate_check, coordinate_overview
from mulo.reporting.labels import label, label_of_family
from mulo.reporting.record.contents import Record
from mulo.reporting.record.movements import Checked, by_contestant


def figure(record: Record, stem: Path, title: str) -> None:
    """Every movement where one contestant was checked; of several the last movement of each, side by side."""
    found = by_contestant(record)
    if len(found) == 1:
        ((checked, rows),) = found.items()
        coordinate_check(rows, stem, f"{title}: {_name(record, checked, found)}")
        return
    named = [_named(row, _name(record, checked, found)) for checked, rows in found.items() for row in rows]
    if len({(row["optimizer"], row["parametrization"]) for row in named}) == len(found):
        named = [_in_own(row) for row in named]
    last = max(row["t"] for row in named)
    coordinate_overview(named, stem, title, named[0]["measure"], last)


def _named(row: Row, name: str) -> dict[str, Any]:
    return {**row, "optimizer": name}


def _in_own(row: Mapping[str, Any]) -> dict[str, Any]:
    """Where each contestant has one parametrization, its name tells it."""
    return {**row, "optimizer": f"{row['optimizer']} in {label(row['parametrization'])}", "parametrization": ""}


def _name(record: Record, own: Checked, among: Iterable[Checked]) -> str:
    several = len({other.task for other in among}) > 1
    task = [label_of_family(own.task)] if several else []
    settings = [f"{key}={value}" for key, value in zip(record.varied, own.settings, strict=True)]
    return "\n".join([own.contestant, *task, *settings])
