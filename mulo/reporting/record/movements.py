"""A record's movements by contestant: what its table and its picture start from."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mulo.evaluation.coordinate_rows import PROMISES, Row, rows_with_slope, verdicts
from mulo.reporting.labels import label, label_of_family
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


def slope_errors(record: Record, checked: Checked, scheme: str) -> list[float]:
    """Standard errors over meta-seeds of the slopes of each movement under one parametrization; none with one seed."""
    found: dict[tuple[Any, ...], dict[int, float]] = {}
    for own in record.movements:
        row: dict[str, Any] = dict(own.row)
        same = Checked(own.contestant, own.task, tuple(own.settings.values())) == checked
        if same and row["parametrization"] == scheme and math.isfinite(row["slope"]):
            found.setdefault(tuple(row[name] for name in _MOVEMENT), {})[own.meta_seed] = row["slope"]
    several = [list(slopes.values()) for slopes in found.values() if len(slopes) > 1]
    return [float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes)) for slopes in several]


def said(record: Record) -> list[str]:
    """What became of each parametrization's promise, a sentence each."""
    sentences = []
    for checked, rows in by_contestant(record).items():
        for scheme in dict.fromkeys(row["parametrization"] for row in rows):
            own = [row for row in rows if row["parametrization"] == scheme]
            found = [one for one in verdicts(own, record.tolerance) if one.outcome != "still"]
            stable, over = sum(one.outcome == "stable" for one in found), own[0]["over"]
            counted = f"{stable} of {len(found)} movements have a slope within ±{record.tolerance:g} over {over}"
            who = f"{checked.contestant} on the {label_of_family(checked.task)} in {label(scheme)}"
            settings = [f"{key}={value}" for key, value in zip(record.varied, checked.settings, strict=True)]
            sentences.append(f"{_outcome(scheme, over, stable, len(found))}: {', '.join([who, *settings])}: {counted}.")
    return sentences


def _outcome(scheme: str, over: str, stable: int, moving: int) -> str:
    """What is promised holds or does not; what is not promised is told apart from it."""
    if scheme in PROMISES[over]:
        return "**holds**" if stable == moving else "**does not hold**"
    return "**nothing is promised**"
