"""Ranks of a record's methods, and how much sooner they reach what a reference ends with."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from mulo.evaluation.statistics import Interval, ranks, speedup
from mulo.reporting.labels import label_of_family, looks
from mulo.reporting.record.contents import Record
from mulo.reporting.record.trainings import by_seed, curves_of, curves_under, steps_of

MOMENTS = (0.2, 0.6)
"""Of a training: steps 1,000 and 3,000 of 5,000, as in µLO's table of ranks."""


class Ranking(NamedTuple):
    """Mean ranks of all methods over some conditions."""

    title: str
    conditions: int
    left_out: int
    """Conditions under which some method has no results."""
    ranks: dict[str, Interval]


def rankings(record: Record) -> list[Ranking]:
    """By final training loss over all conditions, over those of each task and those furthest out on each axis.

    The last are the conditions of the largest width, depth or number of steps (µLO, figure 1b); and of all conditions
    the ranks on the way, by the curves.
    """
    if record.trainings.name.nunique() < 2:
        return []
    conditions, tasks = record.conditions, record.conditions.task.unique()
    groups = [("all tasks" if len(tasks) > 1 else label_of_family(tasks[0]), conditions.index)]
    if len(tasks) > 1:
        groups += [(label_of_family(task), conditions.index[conditions.task == task]) for task in tasks]
    for axis in ("width", "depth", "num_steps"):
        if conditions[axis].nunique() > 1:
            most = conditions[axis].max()
            title = f"{most} steps" if axis == "num_steps" else f"{axis} {most}"
            groups.append((title, conditions.index[conditions[axis] == most]))
    final = partial(by_seed, split="train")
    ranked = [_ranking(record, f"{title}, at the end", members, final) for title, members in groups]
    for moment in MOMENTS if record.curves else ():
        title, members = groups[0]
        early = partial(_early, record, moment)
        ranked.append(_ranking(record, f"{title}, at {moment:.0%} of the steps", members, early))
    return [ranking for ranking in ranked if ranking is not None]


def _early(record: Record, moment: float, rows: pd.DataFrame) -> np.ndarray:
    """[conditions, meta-seeds, seeds] of one method on the way, as `by_seed` at the end."""
    curves = {number: curves_of(record, by_job) for number, by_job in rows.groupby("condition")}
    jobs = sorted(set.intersection(*(set(by_job) for by_job in curves.values())))
    if not jobs:
        return np.empty((len(curves), 0, 0))
    seeds = min(len(by_job[job]) for by_job in curves.values() for job in jobs)
    points = {n: np.searchsorted(steps_of(record, n), moment * record.conditions.num_steps[n]) for n in curves}
    return np.array([[by_job[job][:seeds, points[n]] for job in jobs] for n, by_job in curves.items()], float)


def _ranking(
    record: Record, title: str, conditions: pd.Index, losses: Callable[[pd.DataFrame], np.ndarray]
) -> Ranking | None:
    rows = record.trainings[record.trainings.condition.isin(conditions)]
    names = record.trainings.name.unique()
    shared = rows[rows.groupby("condition").name.transform("nunique") == len(names)]
    by_name = {name: losses(shared[shared.name == name]) for name in names} if len(shared) else {}
    if not by_name or not all(array.size for array in by_name.values()):
        return None
    worst = {name: np.where(np.isfinite(array), array, np.inf) for name, array in by_name.items()}
    count = shared.condition.nunique()
    return Ranking(title, count, len(conditions) - count, ranks(worst))


def reference(record: Record) -> str | None:
    """The method that speedups compare with: the first baseline, else the first claim's `than`, that has results."""
    baselines = [text for name, look in looks(learned=False).items() for text in (look.label, name)]
    candidates = [*baselines, *(claim.than for claim in record.sweep.claims)]
    return next((name for name in candidates if name in set(record.trainings.name)), None)


def largest(record: Record) -> list[int]:
    """Of conditions that differ in their width alone, the widest."""
    others = [name for name in record.conditions if name != "width"]
    return list(record.conditions.groupby(others, sort=False).width.idxmax())


def speedups(record: Record, than: str) -> dict[int, dict[str, float | None]]:
    """At the largest widths, by condition and method; None where the reference's last loss is not reached.

    Curves are means over all meta-seeds and seeds; a curve ends where the first of its seeds diverges.
    """
    factors: dict[int, dict[str, float | None]] = {}
    for condition in largest(record):
        steps, curves = curves_under(record, condition)
        if than in curves:
            means = {name: values.mean(axis=0) for name, values in curves.items()}
            target = means.pop(than)
            factors |= (
                {condition: {name: speedup(steps, values, target) for name, values in means.items()}} if means else {}
            )
    return factors
