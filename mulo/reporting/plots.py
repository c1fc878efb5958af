"""Pictures of results: each function takes records, and writes `stem`.png and `stem`.svg."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulo.errors import MuloError
from mulo.evaluation.results import CurveKey, Summary, by_optimizer
from mulo.reporting import style
from mulo.reporting.coordinate_plot import coordinate_check
from mulo.reporting.labels import label

__all__ = ["coordinate_check", "curves", "loss_over_width", "meta_training", "running_median"]


def loss_over_width(summaries: Sequence[Summary], stem: Path, trained_widths: Sequence[int], title: str) -> None:
    """Mean test loss (left) and train loss (right) over width with standard errors, a line per optimizer.

    The range of `trained_widths` is shaded. A cross at the top edge tells how many of the seeds diverged at
    that width; means are over the others. Raises MuloError where two summaries compete for one point.
    """
    found = by_optimizer(summaries)
    with style.picture(stem, 1, 2, (9.6, 3.9)) as (figure, axes):
        for panel, split in zip(axes[0], ("test", "train"), strict=True):
            _loss_panel(panel, found, split)
            _mark_diverged(panel, found)
            if trained_widths:
                shade(panel, trained_widths)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
        figure.suptitle(title)


def _loss_panel(axes: Any, found: Mapping[tuple[str, str], Mapping[int, Summary]], split: str) -> None:
    looks = style.lines(list(found))
    for pair, members in found.items():
        rows = [members[width] for width in sorted(members)]
        means = [getattr(row, f"{split}_loss") for row in rows]
        errors = [getattr(row, f"{split}_error") for row in rows]
        widths, look = [row.width for row in rows], looks[pair]
        axes.plot(widths, means, **look._asdict(), label=label(pair[0]))
        axes.errorbar(widths, means, errors, fmt="none", ecolor=look.color, capsize=2.5, elinewidth=1.2)
    everything = [row for members in found.values() for row in members.values()]
    style.size_axis(axes, sorted({row.width for row in everything}))
    style.loss_axis(axes, [getattr(row, f"{split}_loss") for row in everything])
    axes.set_ylabel(f"{split} loss")


def _mark_diverged(axes: Any, found: Mapping[tuple[str, str], Mapping[int, Summary]]) -> None:
    looks, places = style.lines(list(found)), Counter[int]()
    for pair, members in found.items():
        for width, row in members.items():
            if row.diverged:
                style.cross(axes, width, places[width], looks[pair].color, f"{row.diverged}/{row.seeds}")
                places[width] += 1
    if places:
        style.headroom(axes, 0.05 * max(places.values()))
        axes.plot([], [], "x", color=style.GREY, label="seeds diverged\n(of all seeds)")


def shade(axes: Any, widths: Sequence[int]) -> None:
    """Shades the range of meta-training widths on an axis of widths."""
    margin, (left, right) = 2**0.15, axes.get_xlim()
    low, high = max(min(widths) / margin, left), min(max(widths) * margin, right)
    if low >= high:  # no width shown is one of them
        return
    axes.axvspan(low, high, color="#eef1f4", zorder=0)
    text = "meta-training widths" if len(set(widths)) > 1 else "meta-training width"
    place = {"transform": axes.get_xaxis_transform(), "va": "bottom", "color": style.GREY, "fontsize": 8.5}
    axes.text(low, 1.035, text, **place)


def curves(curves: Mapping[str, np.ndarray], stem: Path, title: str) -> None:
    """Train loss over inner steps at one width: mean and range over seeds, after a running median of each.

    `curves` maps `CurveKey`s to arrays [seeds, steps]. From the step at which a seed stops being finite,
    marked by a cross at the top edge, mean and range are over the others. The y axis ends at four times the
    largest loss of the first step. Raises MuloError where one optimizer appears at two widths.
    """
    found = _one_width(curves)
    looks = style.lines(list(found))
    window = _window(max(values.shape[1] for values in found.values()))
    with style.picture(stem, 1, 1, (7.2, 4.0)) as (figure, axes):
        panel = axes[0, 0]
        means = [_curve(panel, values, window, looks[pair], pair[0]) for pair, values in found.items()]
        style.loss_axis(panel, np.concatenate(means))
        _cap(panel, found)
        panel.set_xlim(0, 1.01 * max(values.shape[1] for values in found.values()))
        panel.set(xlabel="inner step", ylabel=_smoothed("train loss", window))
        _mark_stops(panel, found, looks)
        figure.legend(loc="outside right center")
        figure.suptitle(title)


def _one_width(curves: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Curves by (optimizer, parametrization), nan from each seed's first step that is not finite."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for key, values in curves.items():
        optimizer, parametrization, *_ = CurveKey.parse(key)
        if (optimizer, parametrization) in found:
            raise MuloError(f"Curves of {optimizer} on two networks were given: a picture shows one.")
        alive = np.logical_and.accumulate(np.isfinite(values), axis=1)
        found[optimizer, parametrization] = np.where(alive, values, np.nan)
    return found


def _curve(axes: Any, values: np.ndarray, window: int, look: style.Line, name: str) -> np.ndarray:
    reached = int(np.isfinite(values).any(axis=0).sum())
    smooth = np.stack([running_median(row, window) for row in values])[:, :reached]
    steps = np.arange(1, reached + 1)
    mean = np.nanmean(smooth, axis=0) if reached else smooth[0]
    if reached:
        band = np.nanmin(smooth, axis=0), np.nanmax(smooth, axis=0)
        axes.fill_between(steps, *band, color=look.color, alpha=0.18, linewidth=0)
    axes.plot(steps, mean, color=look.color, linestyle=look.linestyle, label=label(name))
    return mean


def _cap(axes: Any, found: Mapping[Any, np.ndarray]) -> None:
    first = [loss for values in found.values() for loss in values[:, 0] if np.isfinite(loss)]
    ceiling = 4 * max(first, default=np.inf)
    if axes.get_ylim()[1] > ceiling and axes.get_yscale() == "log":
        # The automatic lower margin grows with what is cut off.
        lowest = min(loss for values in found.values() for loss in values[values > 0])
        axes.set_ylim(0.8 * lowest, ceiling)


def _mark_stops(axes: Any, found: Mapping[Any, np.ndarray], looks: Mapping[Any, style.Line]) -> None:
    ended = [pair for pair, values in found.items() if np.isnan(values).any()]
    for place, pair in enumerate(ended):
        lengths = np.isfinite(found[pair]).sum(axis=1)
        for length in lengths[lengths < found[pair].shape[1]]:
            style.cross(axes, length + 1, place, looks[pair].color)
    if ended:
        axes.plot([], [], "x", color=style.GREY, label="seed diverges")


def meta_training(rows: Sequence[Mapping[str, Any]], stem: Path) -> None:
    """Meta-loss over outer steps: all tasks together, each task, and the validation loss where rows have it.

    Rows are those of metrics.jsonl: `outer_step`, `meta_loss`, `meta_loss/<task>`, `validation_loss`. Lines
    are running medians; of the meta-loss every value is drawn as well, in grey.
    """
    rows = [row for row in rows if "outer_step" in row]
    tasks = list(dict.fromkeys(key for row in rows for key in row if key.startswith("meta_loss/")))
    window = _window(sum("meta_loss" in row for row in rows))
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
        panel.set(xlabel="outer step", ylabel=_smoothed("meta-loss", window))
        figure.legend(loc="outside right center")


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row["outer_step"], row[key]) for row in rows if row.get(key) is not None]
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, np.where(np.isfinite(values), values, np.nan)


def _window(count: int) -> int:
    """An odd window of about a fiftieth of the points."""
    return count // 100 * 2 + 1


def _smoothed(name: str, window: int) -> str:
    return name if window == 1 else f"{name} (running median of {window} steps)"


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median of each value [n] and its neighbours, `window` (odd) in all, fewer at the ends and next to nan.

    What is nan stays nan.
    """
    if not values.size:
        return values
    padded = np.pad(np.asarray(values, float), window // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    smooth, kept = np.array(values, float), np.isfinite(values)
    smooth[kept] = np.nanmedian(windows[kept], axis=1)
    return smooth
