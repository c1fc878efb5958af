"""Claims held against the losses of a record."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mulo.config import ClaimConfig
from mulo.evaluation.statistics import Interval, difference_interval, mean_interval
from mulo.reporting.record.cells import Cells, Place, array, as_number, by_place
from mulo.reporting.record.contents import Loss, Record

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


class Verdict(NamedTuple):
    """What became of a claim."""

    claim: ClaimConfig
    outcome: str
    """`holds`, `does not hold` or `undecided`."""
    because: str
    """The numbers behind it, in one sentence."""


class _Side(NamedTuple):
    """One of the two contestants, where both have results."""

    losses: np.ndarray
    """[places, meta-seeds, seeds]"""

    @property
    def diverged(self) -> int:
        return int(np.isinf(self.losses).sum())

    @property
    def share(self) -> float:
        return self.diverged / self.losses.size

    def text(self) -> str:
        value = mean_interval(self.losses).value
        mean = f"{value:.4g}" if math.isfinite(value) else "–"
        places, jobs, seeds = self.losses.shape
        counted = f"{jobs} × {seeds} seeds" + (f" in {places} places" if places > 1 else "")
        return f"{mean} ({counted}, {self.diverged} of {self.losses.size} diverged)"


def verdicts(record: Record) -> list[Verdict]:
    """One for each claim of the sweep."""
    cells = by_place(record)
    return [_verdict(record, cells, claim) for claim in record.sweep.claims]


def _verdict(record: Record, cells: Cells, claim: ClaimConfig) -> Verdict:
    rows = {name: _rows(record, claim, name) for name in (claim.better, claim.than)}
    known = {*Place._fields[:-1], "parametrization", *record.varied}
    if unknown := [key for key in claim.at if key not in known]:
        return Verdict(claim, UNDECIDED, f"the results have no column {', '.join(unknown)}.")
    places = [place for place in cells if all(_at(own, place) for own in rows.values())]
    ours, theirs = (_Side(array([_at(own, place) for place in places], claim.loss)) for own in rows.values())
    if not (ours.losses.size and theirs.losses.size):
        missing = [name for name, own in rows.items() if not own] or list(rows)
        return Verdict(claim, UNDECIDED, f"there are no results of {' and '.join(missing)} to compare.")
    return _judged(claim, ours, theirs)


def _at(rows: Sequence[Loss], place: Place) -> list[Loss]:
    return [row for row in rows if _place(row) == place]


def _place(row: Loss) -> Place:
    own = row.result
    return Place(own.task, row.data, own.width, own.depth, own.steps, tuple(row.settings.values()))


def _rows(record: Record, claim: ClaimConfig, name: str) -> list[Loss]:
    """Of one contestant, those that `at` selects among both contestants' rows."""
    rows = [row for row in record.losses if row.contestant in (claim.better, claim.than)]
    exact = {key: value for key, value in claim.at.items() if value not in ("smallest", "largest")}
    rows = [row for row in rows if all(_same(_column(row, key), value) for key, value in exact.items())]
    for key in claim.at.keys() - exact.keys():
        values = [number for row in rows if (number := as_number(_column(row, key))) is not None]
        chosen = (min if claim.at[key] == "smallest" else max)(values, default=math.nan)
        rows = [row for row in rows if as_number(_column(row, key)) == chosen]
    return [row for row in rows if row.contestant == name]


def _column(row: Loss, key: str) -> str:
    own = row.result._asdict() | {"data": row.data, **row.settings}
    return str(own.get(key, ""))


def _same(text: str, value: Any) -> bool:
    number = as_number(text)
    return text == str(value) or (number is not None and number == as_number(str(value)))


def _judged(claim: ClaimConfig, ours: _Side, theirs: _Side) -> Verdict:
    difference = difference_interval(ours.losses, theirs.losses)
    because = f"{claim.better} {ours.text()}, {claim.than} {theirs.text()}{_said(difference)}."
    return Verdict(claim, _outcome(difference, ours, theirs), because)


def _said(difference: Interval) -> str:
    if not math.isfinite(difference.value):
        return ""
    text = f"; difference {difference.value:+.4g}"
    if math.isfinite(difference.low):
        text += f", 95% interval {difference.low:+.4g} … {difference.high:+.4g}"
    else:
        text += ", with too few seeds for an interval"
    return text.replace("-", "−")


def _outcome(difference: Interval, ours: _Side, theirs: _Side) -> str:
    """Means of finite losses decide nothing for a side of which more diverged."""
    if ours.diverged == 0 and theirs.share == 1:
        return HOLDS
    if theirs.diverged == 0 and ours.share == 1:
        return FAILS
    if difference.high < 0 and ours.share <= theirs.share:
        return HOLDS
    if difference.low > 0 and theirs.share <= ours.share:
        return FAILS
    return UNDECIDED
