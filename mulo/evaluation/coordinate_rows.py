"""Results of a coordinate check: a table of changes with their slope over width or depth, and verdicts on them."""

import numpy as np
import pandas as pd

from mulo.evaluation.tables import OLD_NAMES, Schema, renamed

PROMISES = {"width": ("mup", "completep"), "depth": ("completep",)}
"""Parametrizations whose changes should not depend on the width, or on the depth."""
CHANGE = ["method", "parametrization", "measure", "layer", "t", "over"]
"""Columns that identify a change."""
_KINDS = dict.fromkeys(CHANGE, str) | {"t": int, "size": int, "std": float, "slope": float, "status": str}
_CHOICES = {"over": ("width", "depth"), "status": ("changing", "constant", "undefined")}


def _converted(texts: pd.DataFrame) -> pd.DataFrame:
    table = renamed(texts)
    return table.assign(status=table.status.replace(OLD_NAMES)) if "status" in table else table


CHANGES = Schema("coordinate check", _KINDS, _CHOICES, _converted)
"""`measure` is one of `coordinate_check.MEASURES`, `t` the training steps done, `over` what differs between networks,
`size` its value; `std` is the standard deviation over examples and units together, averaged over seeds.
`slope`, of log std over log size by least squares, is nan unless `status` is `changing`; it is `constant` where std is
exactly 0 at all sizes, `undefined` where at some size it is 0 or not finite."""
_JOB: dict[str, type] = {"task": str, "data": str, "meta_seed": int}
CHANGES_OF_JOBS = Schema("table of changes", _JOB | _KINDS, _CHOICES, _converted)
"""The same with columns that identify the job."""


def with_slopes(deviations: pd.DataFrame) -> pd.DataFrame:
    """Adds slope and status, change by change; `deviations` has `CHANGE`, size and std."""
    groups = deviations.groupby(CHANGE, sort=False, as_index=False)
    return pd.concat([rows_of_one.assign(**_fit(rows_of_one)) for _, rows_of_one in groups], ignore_index=True)


def _fit(change: pd.DataFrame) -> dict[str, float | str]:
    stds = change["std"].to_numpy()
    if not stds.any():
        return {"slope": np.nan, "status": "constant"}
    if not np.all(np.isfinite(stds) & (stds > 0)):
        return {"slope": np.nan, "status": "undefined"}
    slope, _ = np.polyfit(np.log(change["size"].to_numpy()), np.log(stds), 1)
    return {"slope": float(slope), "status": "changing"}


def verdicts(changes: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """One row per change: `CHANGE`, slope, `outcome` and whether it `failed`.

    `outcome` is `stable` (|slope| ≤ tolerance), `unstable`, `constant` or `undefined`. What is unstable or undefined
    contradicts the slope of 0 that µP promises over width, and CompleteP over depth too; `constant` is neither.
    """
    judged = changes.drop_duplicates(CHANGE)[[*CHANGE, "slope", "status"]].reset_index(drop=True)
    stable = np.where(judged.slope.abs() <= tolerance, "stable", "unstable")
    outcome = judged.status.where(judged.status != "changing", stable)
    return judged.drop(columns="status").assign(outcome=outcome, failed=outcome.isin(["unstable", "undefined"]))
