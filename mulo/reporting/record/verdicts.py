"""Claims held against the losses of a record."""

import math
from collections.abc import Mapping, Sequence
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
    """[places, meta-seeds, seeds] as they are; inf where a seed diverged."""
    initial: np.ndarray
    """The same before the first step."""

    @property
    def counted(self) -> np.ndarray:
        """The losses that are compared: a training that diverged, or ends above its start, has learned nothing.

        How far above it ended says nothing more, and would decide a mean alone.
        """
        return np.where(self.losses > self.initial, self.initial, self.losses)

    def text(self) -> str:
        value = mean_interval(self.counted).value
        mean = f"{value:.4g}" if math.isfinite(value) else "–"
        places, jobs, seeds = self.losses.shape
        counted = f"{jobs} × {seeds} seeds" + (f" in {places} places" if places > 1 else "")
        diverged = int(np.isinf(self.losses).sum())
        nothing = int(np.sum(self.losses > self.initial)) - diverged
        more = f", {nothing} ended above their start" if nothing else ""
        return f"{mean} ({counted}, {diverged} of {self.losses.size} diverged{more})"


def verdicts(record: Record) -> list[Verdict]:
    """One for each claim of the sweep."""
    cells = by_place(record)
    return [_verdict(record, cells, claim) for claim in record.sweep.claims]


def _verdict(record: Record, cells: Cells, claim: ClaimConfig) -> Verdict:
    known = {*Place._fields[:-1], "parametrization", *record.varied}
    if unknown := [key for key in {**claim.at, **claim.than_at} if key not in known]:
        return Verdict(claim, UNDECIDED, f"the results have no column {', '.join(unknown)}.")
    found = [(name, _rows(record, claim, name, at)) for name, at in _asked(claim)]
    elsewhere = bool(claim.than_at) or claim.better == claim.than
    shared = [place for place in cells if all(_at(own, place) for _, own in found)]
    ours, theirs = (
        _side([_at(own, place) for place in (_own_places(cells, own) if elsewhere else shared)], claim.loss)
        for _, own in found
    )
    if not (ours.losses.size and theirs.losses.size):
        missing = [name for name, own in found if not own] or [name for name, _ in found]
        return Verdict(claim, UNDECIDED, f"there are no results of {' and '.join(missing)} to compare.")
    return _judged(claim, ours, theirs)


def _asked(claim: ClaimConfig) -> list[tuple[str, Mapping[str, Any]]]:
    """Both contestants, each with which of its results are compared."""
    return [(claim.better, claim.at), (claim.than, claim.than_at or claim.at)]


def _own_places(cells: Cells, rows: Sequence[Loss]) -> list[Place]:
    """Where one side alone has results: with `than_at` the other's are elsewhere."""
    return [place for place in cells if _at(rows, place)]


def _side(places: Sequence[Sequence[Loss]], split: str) -> _Side:
    initial = array(places, "initial_loss")
    return _Side(array(places, split), np.where(np.isfinite(initial), initial, np.inf))


def _at(rows: Sequence[Loss], place: Place) -> list[Loss]:
    return [row for row in rows if _place(row) == place]


def _place(row: Loss) -> Place:
    own = row.result
    return Place(own.task, row.data, own.width, own.depth, own.steps, tuple(row.settings.values()))


def _rows(record: Record, claim: ClaimConfig, name: str, at: Mapping[str, Any]) -> list[Loss]:
    """Of one contestant, those that `at` selects among both contestants' rows."""
    rows = [row for row in record.losses if row.contestant in (claim.better, claim.than)]
    exact = {key: value for key, value in at.items() if value not in ("smallest", "largest")}
    rows = [row for row in rows if all(_same(_column(row, key), value) for key, value in exact.items())]
    for key in at.keys() - exact.keys():
        values = [number for row in rows if (number := as_number(_column(row, key))) is not None]
        chosen = (min if at[key] == "smallest" else max)(values, default=math.nan)
        rows = [row for row in rows if as_number(_column(row, key)) == chosen]
    return [row for row in rows if row.contestant == name]


def _column(row: Loss, key: str) -> str:
    own = row.result._asdict() | {"data": row.data, **row.settings}
    return str(own.get(key, ""))


def _same(text: str, value: Any) -> bool:
    number = as_number(text)
    return text == str(value) or (number is not None and number == as_number(str(value)))


def _judged(claim: ClaimConfig, ours: _Side, theirs: _Side) -> Verdict:
    difference = difference_interval(ours.counted, theirs.counted)
    because = f"{claim.better} {ours.text()}, {claim.than} {theirs.text()}{_said(difference)}."
    return Verdict(claim, _outcome(difference), because)


def _said(difference: Interval) -> str:
    if not math.isfinite(difference.value):
        return ""
    text = f"; difference {difference.value:+.4g}"
    if math.isfinite(difference.low):
        text += f", 95% interval {difference.low:+.4g} … {difference.high:+.4g}"
    else:
        text += ", with too few seeds for an interval"
    return text.replace("-", "−")


def _outcome(difference: Interval) -> str:
    if difference.high < 0:
        return HOLDS
    return FAILS if difference.low > 0 else UNDECIDED
