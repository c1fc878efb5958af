"""Claims held against the losses of a record."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mulo.config import ClaimConfig
from mulo.evaluation.statistics import Interval, difference_interval, mean_interval
from mulo.evaluation.tables import OLD_NAMES
from mulo.reporting.record.contents import Record, as_number
from mulo.reporting.record.trainings import by_seed

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


class Verdict(NamedTuple):
    """The outcome of a claim."""

    claim: ClaimConfig
    outcome: str
    """`holds`, `does not hold` or `undecided`."""
    because: str
    """The numbers behind it, in one sentence."""


class _Side(NamedTuple):
    """One of the two methods, where both have results."""

    losses: np.ndarray
    """[conditions, meta-seeds, seeds] as they are; inf where a seed diverged."""
    initial: np.ndarray
    """The same before the first step."""

    @property
    def counted(self) -> np.ndarray:
        """The losses that are compared: a training that diverged, or ends above its start, has learned nothing.

        How far above it ended carries no information, and would decide a mean alone.
        """
        return np.where(self.losses > self.initial, self.initial, self.losses)

    def text(self) -> str:
        value = mean_interval(self.counted).value
        mean = f"{value:.4g}" if math.isfinite(value) else "–"
        conditions, jobs, seeds = self.losses.shape
        counted = f"{jobs} × {seeds} seeds" + (f" in {conditions} conditions" if conditions > 1 else "")
        diverged = int(np.isinf(self.losses).sum())
        above = int(np.sum(self.losses > self.initial)) - diverged
        more = f", {above} ended above their start" if above else ""
        return f"{mean} ({counted}, {diverged} of {self.losses.size} diverged{more})"


def verdicts(record: Record) -> list[Verdict]:
    """One for each claim of the sweep."""
    return [_verdict(record, claim) for claim in record.sweep.claims]


def _verdict(record: Record, claim: ClaimConfig) -> Verdict:
    at, than_at = ({OLD_NAMES.get(k, k): value for k, value in keys.items()} for keys in (claim.at, claim.than_at))
    known = {*record.conditions, "parametrization"}
    if unknown := [key for key in {**at, **than_at} if key not in known]:
        return Verdict(claim, UNDECIDED, f"the results have no column {', '.join(unknown)}.")
    compared = record.trainings[record.trainings.method.isin([claim.better, claim.than])]
    selected = [
        (claim.better, _rows(compared, claim.better, at)),
        (claim.than, _rows(compared, claim.than, than_at or at)),
    ]
    shared = set.intersection(*(set(rows.condition) for _, rows in selected))
    # With `than_at` the two methods are compared under different conditions.
    elsewhere = bool(than_at) or claim.better == claim.than
    ours, theirs = (_side(rows if elsewhere else rows[rows.condition.isin(shared)], claim.loss) for _, rows in selected)
    if not (ours.losses.size and theirs.losses.size):
        missing = [name for name, rows in selected if rows.empty] or [name for name, _ in selected]
        return Verdict(claim, UNDECIDED, f"there are no results of {' and '.join(missing)} to compare.")
    return _judged(claim, ours, theirs)


def _side(rows: pd.DataFrame, loss: str) -> _Side:
    initial = by_seed(rows, "initial")
    return _Side(by_seed(rows, OLD_NAMES[loss]), np.where(np.isfinite(initial), initial, np.inf))


def _rows(compared: pd.DataFrame, method: str, at: Mapping[str, Any]) -> pd.DataFrame:
    """Of one method, those that `at` selects among both methods' rows."""
    rows, ends = compared, {"smallest": "min", "largest": "max"}
    for key in sorted(at, key=lambda key: at[key] in ends):
        if at[key] in ends:
            numbers = rows[key].map(as_number).astype(float)
            rows = rows[numbers == numbers.agg(ends[at[key]])]
        else:
            rows = rows[rows[key].map(lambda text, value=at[key]: _same(str(text), value)).astype(bool)]
    return rows[rows.method == method]


def _same(text: str, value: Any) -> bool:
    number = as_number(text)
    return text == str(value) or (number is not None and number == as_number(str(value)))


def _judged(claim: ClaimConfig, ours: _Side, theirs: _Side) -> Verdict:
    difference = difference_interval(ours.counted, theirs.counted)
    because = f"{claim.better} {ours.text()}, {claim.than} {theirs.text()}{_in_words(difference)}."
    return Verdict(claim, _outcome(difference), because)


def _in_words(difference: Interval) -> str:
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
