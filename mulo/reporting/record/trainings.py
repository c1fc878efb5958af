"""Losses and curves of a record's trainings, for tables, statistics and pictures."""

import numpy as np
import pandas as pd

from mulo.evaluation.statistics import spread
from mulo.reporting.record.contents import Record


def spreads(record: Record, split: str) -> pd.DataFrame:
    """A row per condition and name: `statistics.spread` of those that ran, and how many `failed`."""
    rows = []
    for (condition, name), group in record.trainings.groupby(["condition", "name"], sort=False):
        ran = group[~group.failed]
        summary = spread(ran[split], ran.initial)._asdict()
        rows.append({"condition": condition, "name": name, **summary, "failed": group.failed.sum()})
    return pd.DataFrame(rows)


def by_seed(rows: pd.DataFrame, split: str) -> np.ndarray:
    """[conditions, meta-seeds, seeds] of one method: inf where a seed diverged, nan where the training failed.

    Meta-seeds and seeds that some condition lacks are left out, possibly all.
    """
    levels = ["condition", "meta_seed", "seed"]
    losses = rows.drop_duplicates(levels, keep="last").set_index(levels)[split]
    conditions = losses.index.unique("condition").sort_values()
    counts = losses.groupby(["meta_seed", "seed"]).size().unstack(fill_value=0) == len(conditions)
    counts = counts.loc[:, counts.any()]
    jobs, seeds = counts.index[counts.all(axis=1)], counts.columns
    wanted = pd.MultiIndex.from_product([conditions, jobs, seeds], names=levels)
    return losses.reindex(wanted).to_numpy(float).reshape(len(conditions), len(jobs), len(seeds))


def curves_of(record: Record, rows: pd.DataFrame) -> dict[int, np.ndarray]:
    """Smoothed training curves [seeds, points] of one method under one condition by meta-seed, where there are any."""
    runs = rows.drop_duplicates("run")
    return {m: record.curves[run] for m, run in zip(runs.meta_seed, runs.run, strict=True) if run in record.curves}


def curves_under(record: Record, condition: int, kind: str = "") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inner steps [points] and by name curves [meta-seeds × seeds, points], of training or, under /test, tests."""
    runs = record.trainings[record.trainings.condition == condition].drop_duplicates("run")
    runs = runs[[f"{run}{kind}" in record.curves for run in runs.run]]
    if runs.empty:
        return np.array([]), {}
    steps = record.curves[f"{runs.run.iloc[0]}/test_steps"] if kind else steps_of(record, condition)
    groups = runs.groupby("name", sort=False).run
    return steps, {name: np.concatenate([record.curves[f"{run}{kind}"] for run in names]) for name, names in groups}


def steps_of(record: Record, condition: int) -> np.ndarray:
    """The inner steps at which training curves under a condition are given."""
    return record.curves[f"n{record.conditions.num_steps[condition]}/steps"]


def differing(conditions: pd.DataFrame) -> pd.DataFrame:
    """The columns in which conditions differ, as text."""
    return conditions.loc[:, conditions.nunique() > 1].astype(str)
