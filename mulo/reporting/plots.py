"""The picture of a meta-training, and the running median of curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulo.reporting import style


def meta_training(rows: Sequence[Mapping[str, Any]], stem: Path) -> None:
    """Meta-loss over outer steps: all tasks together, each task, and the validation loss where rows have it.

    Rows are those of metrics.jsonl: `outer_step`, `meta_loss`, `meta_loss/<task>`, `validation_loss`. Lines
    are running medians; of the meta-loss every value is drawn as well, in grey.
    """
    rows = [row for row in rows if "outer_step" in row]
    tasks = list(dict.fromkeys(key for row in rows for key in row if key.startswith("meta_loss/")))
    window = sum("meta_loss" in row for row in rows) // 100 * 2 + 1  # odd, about a fiftieth of the points
    with style.picture(stem, 1, 1, (7.2, 4.0)) as (figure, axes):
        panel = axes[0, 0]
        steps, values = _series(rows, "meta_loss")
        panel.plot(steps, values, color="#c4c4c4", linewidth=0.7, zorder=1)
        panel.plot(steps, running_median(values, window), color="black", zorder=3, label="meta-loss")
        for key, color in zip(tasks, style.sequence(len(tasks)), strict=True):
            smooth = running_median(_series(rows, key)[1], window)
            panel.plot(_series(rows, key)[0], smooth, color=color, linewidth=1.2, label=key.split("/", 1)[1])
        checked, validation = _series(rows, "validation_loss")
        if checked.size:
            panel.plot(checked, validation, color="#D55E00", marker="o", markersize=4, label="validation")
        style.loss_axis(panel, [*values, *validation])
        panel.set_xlim(left=0)
        smoothed = "" if window == 1 else f" (running median of {window} steps)"
        panel.set(xlabel="outer step", ylabel=f"meta-loss{smoothed}")
        figure.legend(loc="outside right center")


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row["outer_step"], row[key]) for row in rows if row.get(key) is not None]
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, np.where(np.isfinite(values), values, np.nan)


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median of each value [n] and its neighbours, `window` (odd) in all, fewer at the ends and next to nan.

    What is nan stays nan.
    """
    if not values.size:
        return values
    padded = np.pad(np.asarray(values, float), window // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    smooth, finite = np.array(values, float), np.isfinite(values)
    smooth[finite] = np.nanmedian(windows[finite], axis=1)
    return smooth
