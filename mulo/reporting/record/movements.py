"""A record's movements by contestant: what its table and its picture start from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mulo.evaluation.coordinate_rows import Row, rows_with_slope
from mulo.reporting.record.contents import Movement, Record

_MOVEMENT = ("parametrization", "measure", "layer", "t", "over")


class Checked(NamedTuple):
    """Whose movements they are."""

    contestant: str
    task: str
    settings: tuple[str, ...]
    """In the order of `Record.varied`."""


def by_contestant(record: Record) -> dict[Checked, list[Row]]:
    """One row per movement and size: deviations averaged over meta-seeds, and the slope of that."""
    groups: dict[Checked, list[Movement]] = {}
    for own in record.movements:
        checked = Checked(own.contestant, own.task, tuple(own.settings.values()))
        groups.setdefault(checked, []).append(own)
    return {checked: _averaged(own) for checked, own in groups.items()}


def _averaged(movements: Sequence[Movement]) -> list[Row]:
    found: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in (own.row for own in movements):
        key = tuple(dict(row)[name] for name in _MOVEMENT)
        found.setdefault(key, {}).setdefault(row["size"], []).append(row["std"])
    rows: list[Row] = []
    for key, stds in found.items():
        mean = {size: sum(own) / len(own) for size, own in stds.items()}
        named = dict(zip(_MOVEMENT, key, strict=True))
        rows += rows_with_slope(mean, optimizer=movements[0].contestant, **named)
    return rows
