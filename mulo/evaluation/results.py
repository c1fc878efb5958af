"""The table of results, a row per training and split, and the loss curves beside it. Without JAX.

A training is one method on one network under one seed; a run has several.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mulo.errors import MuloError
from mulo.evaluation.tables import Schema, renamed
from mulo.files import replacing

SPLITS = ("initial", "train", "test")
"""`initial` is the minibatch loss before the first step, the others are losses over fixed examples at the end."""
CONDITION = ("task", "data", "width", "depth", "num_steps")
"""What methods are compared under, beside values of settings that vary."""
_TRAINING: dict[str, type] = {"method": str, "parametrization": str, "task": str, "data": str, "width": int}
_TRAINING |= {"depth": int, "num_steps": int, "meta_seed": int, "seed": int}
_ABSENT = {"method": "", "parametrization": "", "data": "", "depth": "0", "num_steps": "0", "meta_seed": "0"}
_ABSENT |= {"seed": "0", "status": "finished"}
"""Columns that older tables of runs and of tuning lack."""


def _long(texts: pd.DataFrame) -> pd.DataFrame:
    """Older tables had a row per training with a column per split."""
    old = renamed(texts)
    splits = [split for split in SPLITS if split in old]
    if not splits:
        return texts
    old = old.assign(**{name: text for name, text in _ABSENT.items() if name not in old})
    rest = [name for name in old if name not in splits]
    long = old.melt(rest, splits, "split", "loss", ignore_index=False)
    return ordered(long.sort_index(kind="stable", ignore_index=True))


def ordered(results: pd.DataFrame) -> pd.DataFrame:
    """The columns in their order: those that identify a training, settings that vary, split, loss and status."""
    ends = ["split", "loss", "status"]
    settings = [name for name in results if name not in (*_TRAINING, *ends)]
    return results[[name for name in (*_TRAINING, *settings, *ends) if name in results]]


RESULTS = Schema(
    "table of results", {**_TRAINING, "split": str, "loss": float, "status": str}, {"split": SPLITS}, _long
)
"""`method` is the optimizer's name in results; `parametrization` is the network's, `task` its family;
`meta_seed` is the job's seed, `status` is `finished`, `diverged(<step>)` or `failed(<reason>)`."""


def trainings(results: pd.DataFrame) -> pd.DataFrame:
    """One row per training with the loss of each split in a column, and whether it `failed`.

    Train and test loss are inf where it diverged, at its end or before, and nan where it failed.
    """
    keys = [name for name in results if name not in ("split", "loss")]
    if results.duplicated([name for name in (*keys, "split") if name != "status"]).any():
        raise MuloError("A training has two losses of one split.")
    wide = results.pivot(index=keys, columns="split", values="loss").reindex(columns=list(SPLITS))
    rows = results[keys].drop_duplicates().merge(wide.reset_index(), how="left", on=keys)
    rows["failed"] = rows.status.str.startswith("failed")
    diverged = (rows.status != "finished") | ~np.isfinite(rows.train + rows.test)
    rows.loc[diverged, ["train", "test"]] = np.inf
    rows.loc[rows.failed, ["train", "test"]] = np.nan
    return rows


def curve_names(results: pd.DataFrame) -> pd.Series:
    """The key of each row's run in the curves of a run directory, such as `velo_mup/mup/w128/d3/n200`."""
    texts = {name: results[name].astype(str) for name in ("method", "parametrization", "width", "depth", "num_steps")}
    return (
        texts["method"] + "/" + texts["parametrization"]
        + "/w" + texts["width"] + "/d" + texts["depth"] + "/n" + texts["num_steps"]
    )  # fmt: skip


def read_runs(
    folder: Path, data: str | Callable[[pd.DataFrame], Any], meta_seed: int
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Results and curves of a run directory.

    Older tables lack the name of the data and the meta-seed, which are arguments, and the initial losses, which are
    taken from the curves.
    """
    path = folder / "curves.npz"
    curves = read_curves(path) if path.exists() else {}
    results = RESULTS.read(folder / "results.csv").assign(data=data, meta_seed=meta_seed)
    if not (results.split == "initial").any():
        first = results[results.split == "train"].assign(split="initial")
        at = zip(curve_names(first), first.seed, strict=True)
        first["loss"] = [float(curves[name][seed, 0]) if name in curves else np.nan for name, seed in at]
        results = pd.concat([first, results]).sort_index(kind="stable", ignore_index=True)
    return results, curves


def write_curves(curves: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes loss curves [seeds, steps] as one npz file."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **curves)


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """Reads what `write_curves` wrote: loss curves [seeds, steps] by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
