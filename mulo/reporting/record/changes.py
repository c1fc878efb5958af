"""A record's changes by what was checked, in sentences and as a picture; its table starts from them too."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mulo.evaluation.coordinate_rows import CHANGE, PROMISES, verdicts, with_slopes
from mulo.reporting.coordinate_plot import coordinate_check, coordinate_overview
from mulo.reporting.labels import label, label_of_family
from mulo.reporting.record.contents import Record


class Check(NamedTuple):
    """A method on a network of one parametrization, under one combination of settings."""

    method: str
    parametrization: str
    task: str
    settings: tuple[str, ...]
    """In the order of `Record.varied`."""
    changes: pd.DataFrame
    """One row per change and size: deviations averaged over meta-seeds, and the slope of that."""
    verdicts: pd.DataFrame
    error: float
    """The largest standard error over meta-seeds of a change's slope; nan with one of them."""


def checks(record: Record) -> list[Check]:
    """All of them, those of one method on one network beside each other."""
    if record.changes.empty:
        return []
    groups = record.changes.groupby(["method", "task", *record.varied], sort=False)
    return [
        _check(record, checked, settings)
        for (_, _, *settings), rows in groups
        for _, checked in rows.groupby("parametrization", sort=False)
    ]


def _check(record: Record, rows: pd.DataFrame, settings: list[str]) -> Check:
    means = with_slopes(rows.groupby([*CHANGE, "size"], sort=False, as_index=False)["std"].mean())
    slopes = rows[rows.slope.notna()].drop_duplicates([*CHANGE, "meta_seed"]).groupby(CHANGE).slope
    first, judged = rows.iloc[0], verdicts(means, record.tolerance)
    return Check(first.method, first.parametrization, first.task, tuple(settings), means, judged, slopes.sem().max())


def sentences(record: Record) -> list[str]:
    """What became of each parametrization's promise, a sentence each."""
    return [_sentence(record, check) for check in checks(record)]


def _sentence(record: Record, check: Check) -> str:
    """What is promised holds or does not; what is not promised is told apart from it."""
    judged = check.verdicts[check.verdicts.outcome != "constant"]
    over, stable = check.changes.over[0], (judged.outcome == "stable").sum()
    outcome = "**nothing is promised**"
    if check.parametrization in PROMISES[over]:
        outcome = "**holds**" if stable == len(judged) else "**does not hold**"
    who = f"{check.method} on the {label_of_family(check.task)} in {label(check.parametrization)}"
    settings = [f"{key}={value}" for key, value in zip(record.varied, check.settings, strict=True)]
    counted = f"{stable} of {len(judged)} changes have a slope within ±{record.tolerance:g} over {over}"
    return f"{outcome}: {', '.join([who, *settings])}: {counted}."


def figure(record: Record, stem: Path, title: str) -> None:
    """Every change where one method was checked; of several the last change of each, side by side."""
    all_checks = checks(record)
    names = {check[:4]: _name(record, check, len({other.task for other in all_checks}) > 1) for check in all_checks}
    rows = pd.concat([check.changes.assign(method=names[check[:4]]) for check in all_checks], ignore_index=True)
    if rows.method.nunique() == 1:
        coordinate_check(rows, stem, f"{title}: {rows.method[0]}")
        return
    if len(all_checks) == rows.method.nunique():  # where each method has one parametrization, its name tells it
        rows = rows.assign(method=rows.method + " in " + rows.parametrization.map(label), parametrization="")
    coordinate_overview(rows, stem, title, rows.measure[0], rows.t.max())


def _name(record: Record, check: Check, with_task: bool) -> str:
    task = [label_of_family(check.task)] if with_task else []
    settings = [f"{key}={value}" for key, value in zip(record.varied, check.settings, strict=True)]
    return "\n".join([label(check.method), *task, *settings])
