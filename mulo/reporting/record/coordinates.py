"""The picture of a record of coordinate checks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mulo.evaluation.coordinate_rows import rows_with_slope
from mulo.reporting.coordinate_plot import coordinate_check, coordinate_overview
from mulo.reporting.labels import label_of_family
from mulo.reporting.record.contents import Movement, Record


def figure(record: Record, stem: Path, title: str) -> None:
    """Every movement where one contestant was checked; of several the last movement of each, side by side."""
    groups: dict[str, list[Movement]] = {}
    for own in record.movements:
        groups.setdefault(_name(record, own), []).append(own)
    rows = [row for name, own in groups.items() for row in _averaged(own, name)]
    if len(groups) == 1:
        coordinate_check(rows, stem, f"{title}: {next(iter(groups))}")
    else:
        coordinate_overview(rows, stem, title, rows[0]["measure"], max(row["t"] for row in rows))


def _name(record: Record, own: Movement) -> str:
    tasks = {other.task for other in record.movements}
    more = [label_of_family(own.task)] if len(tasks) > 1 else []
    return "\n".join([own.contestant, *more, *(f"{key}={value}" for key, value in own.settings.items())])


def _averaged(movements: Sequence[Movement], name: str) -> list[Any]:
    """One row per size: standard deviations averaged over meta-seeds, and the slope of that."""
    found: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in (own.row for own in movements):
        key = (row["parametrization"], row["measure"], row["layer"], row["t"], row["over"])
        found.setdefault(key, {}).setdefault(row["size"], []).append(row["std"])
    names = ("parametrization", "measure", "layer", "t", "over")
    return [
        row
        for key, stds in found.items()
        for row in rows_with_slope(
            {size: sum(own) / len(own) for size, own in stds.items()},
            optimizer=name,
            **dict(zip(names, key, strict=True)),
        )
    ]
