"""A record's coordinate checks in sentences and as a picture."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mulo.evaluation.coordinate_rows import CHANGE, PROMISES, verdicts, with_slopes
from mulo.reporting.coordinate_plot import coordinate_check, coordinate_overview
from mulo.reporting.labels import label, label_of_family
from mulo.reporting.record.contents import Record

EXPLAINED = "µP promises that changes do not depend on the width, CompleteP that they do not on the depth either."


class Check(NamedTuple):
    """A method on a network of one parametrization, under one combination of settings."""

    method: str
    parametrization: str
    network: str
    """The task as printed, with its data where a task was checked on several."""
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
    groups = record.changes.groupby(["method", "task", "data", *record.varied], sort=False)
    return [
        _check(record, checked, settings)
        for (_, _, _, *settings), rows in groups
        for _, checked in rows.groupby("parametrization", sort=False)
    ]


def _check(record: Record, rows: pd.DataFrame, settings: list[str]) -> Check:
    means = with_slopes(rows.groupby([*CHANGE, "size"], sort=False, as_index=False)["std"].mean())
    slopes = rows[rows.slope.notna()].drop_duplicates([*CHANGE, "meta_seed"]).groupby(CHANGE).slope
    first, judged = rows.iloc[0], verdicts(means, record.tolerance)
    several = record.changes[record.changes.task == first.task].data.nunique() > 1
    network = label_of_family(first.task) + (f" on {first.data}" if several else "")
    return Check(first.method, first.parametrization, network, tuple(settings), means, judged, slopes.sem().max())


def sentences(record: Record) -> list[str]:
    """Whether each parametrization's promise holds, a sentence each."""
    return [_sentence(record, check) for check in checks(record)]


def _sentence(record: Record, check: Check) -> str:
    judged = check.verdicts[check.verdicts.outcome != "constant"]
    over, stable = check.changes.over[0], (judged.outcome == "stable").sum()
    outcome = "**nothing is promised**"
    if check.parametrization in PROMISES[over]:
        outcome = "**holds**" if stable == len(judged) else "**does not hold**"
    checked = f"{label(check.method)} on the {check.network} in {label(check.parametrization)}"
    counted = f"{stable} of {len(judged)} changes have a slope within ±{record.tolerance:g} over {over}"
    return f"{outcome}: {', '.join([checked, *_settings(record, check)])}: {counted}."


def _settings(record: Record, check: Check) -> list[str]:
    return [f"{key}={value}" for key, value in zip(record.varied, check.settings, strict=True)]


def figure(record: Record, stem: Path, title: str) -> None:
    """Every change where one method was checked; of several the last change of each, side by side."""
    all_checks = checks(record)
    names = {check[:4]: _name(record, check, len({check.network for check in all_checks}) > 1) for check in all_checks}
    rows = pd.concat([check.changes.assign(method=names[check[:4]]) for check in all_checks], ignore_index=True)
    if rows.method.nunique() == 1:
        coordinate_check(rows, stem, f"{title}: {rows.method[0]}")
        return
    if len(all_checks) == rows.method.nunique():  # where each method has one parametrization, it is part of its name
        rows = rows.assign(method=rows.method + " in " + rows.parametrization.map(label), parametrization="")
    coordinate_overview(rows, stem, title, rows.measure[0], rows.t.max())


def _name(record: Record, check: Check, with_network: bool) -> str:
    network = [check.network] if with_network else []
    return "\n".join([label(check.method), *network, *_settings(record, check)])
