"""The picture of a record, figure.svg and figure.png, that `sweep.figure` names."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mulo.reporting import style
from mulo.reporting.record import changes, transfer
from mulo.reporting.record.comparisons import Ranking, largest, rankings
from mulo.reporting.record.contents import Record
from mulo.reporting.record.panels import Panel, panels
from mulo.reporting.record.panels import title as title_of
from mulo.reporting.record.trainings import curves_under

_ROW = 3.4


def figure(record: Record, stem: Path, title: str) -> None:
    """Draws it; a record without results has an empty picture that says so."""
    if len(record.changes):
        changes.figure(record, stem, title)
    elif record.results.empty:
        _empty(stem, title)
    else:
        _KINDS.get(record.sweep.figure, final_losses)(record, stem, title)


def looks(record: Record) -> dict[str, style.Line]:
    """Colour, marker and dashes of each method, by its printed name."""
    by_pair = style.lines(list(record.names))
    return {record.names[pair]: look for pair, look in by_pair.items()}


def _empty(stem: Path, title: str) -> None:
    with style.picture(stem, 1, 1, (6, 2)) as (figure, axes):
        axes[0, 0].text(0.5, 0.5, "no results", ha="center", transform=axes[0, 0].transAxes)
        axes[0, 0].set_axis_off()
        figure.suptitle(title)


def final_losses(record: Record, stem: Path, title: str) -> None:
    """Test (left) and training loss (right) over the axis, a row per combination of what else varies."""
    drawn, look = panels(record), looks(record)
    with style.picture(stem, len(drawn), 2, (9.6, _ROW * len(drawn) + 0.7)) as (figure, axes):
        for row, panel in zip(axes, drawn, strict=True):
            for panel_axes, split in zip(row, ("test", "train"), strict=True):
                _losses(panel_axes, panel, split, look)
                _shade(record, panel_axes, panel)
            if len(drawn) > 1:
                row[0].set_title(panel.title, loc="left", fontsize=9, pad=18 if panel.axis == "width" else 8)
        _legend(figure, axes)
        complete = len(drawn) > 1 or drawn[0].title in title
        figure.suptitle(title if complete else f"{title}: {drawn[0].title}")


def _losses(axes: Any, panel: Panel, split: str, look: Mapping[str, style.Line]) -> None:
    points = panel.points[split]
    quantities = points[["low", "median", "high"]].clip(upper=panel.ceiling)  # at most as large as the axis is high
    for name, line in quantities.where(np.isfinite(quantities)).groupby(points.name, sort=False):
        x, median = points.x[line.index], line["median"]
        whiskers = median - line.low, line.high - median
        axes.plot(x, median, **look[name]._asdict(), label=name)
        axes.errorbar(x, median, whiskers, fmt="none", ecolor=look[name].color, capsize=2.5, elinewidth=1.2)
    _axis(axes, panel)
    style.loss_axis(axes, np.minimum(points["median"], panel.ceiling))
    axes.set_ylabel(f"{split} loss")
    _cap(axes, panel, points, look)
    _crosses(axes, points, look)


def _cap(axes: Any, panel: Panel, points: pd.DataFrame, look: Mapping[str, style.Line]) -> None:
    """Ends the axis at the ceiling where some median is above it; a triangle at the edge marks each that is."""
    medians = points["median"]
    above = points[medians > panel.ceiling]
    if above.empty:
        return
    axes.set_ylim(0.85 * medians[medians > 0].min(), panel.ceiling)
    for point in above.itertuples():
        axes.plot(point.x, panel.ceiling, "^", color=look[point.name].color, markersize=8, clip_on=False, zorder=5)
    axes.plot([], [], "^", color=style.GREY, linestyle="none", label="beyond the axis")


def _axis(axes: Any, panel: Panel) -> None:
    if panel.numeric and all(float(tick) > 0 for tick in panel.ticks):
        values = [float(tick) for tick in panel.ticks]
        style.size_axis(axes, sorted(int(v) if v.is_integer() else v for v in values), panel.axis)
    elif not panel.numeric:
        axes.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=20, ha="right", fontsize=8)
    axes.set_xlabel(panel.axis)


def _crosses(axes: Any, points: pd.DataFrame, look: Mapping[str, style.Line]) -> None:
    exploded = points[points.exploded > 0]
    for _, at_x in exploded.groupby("x"):
        for rank, point in enumerate(at_x.itertuples()):
            style.cross(axes, point.x, rank, look[point.name].color, f"{point.exploded}/{point.seeds}")
    if len(exploded):
        style.headroom(axes, 0.05 * exploded.x.value_counts().max())
        axes.plot([], [], "x", color=style.GREY, label="exploded\n(of all seeds)")


def _shade(record: Record, axes: Any, panel: Panel) -> None:
    widths = {width for job in record.jobs for width in job.trained_widths.get(panel.task, [])}
    if panel.axis == "width" and widths:
        _shade_widths(axes, widths)


def _shade_widths(axes: Any, widths: Collection[int]) -> None:
    margin, (left, right) = 2**0.15, axes.get_xlim()
    low, high = max(min(widths) / margin, left), min(max(widths) * margin, right)
    if low >= high:  # no width shown is one of them
        return
    axes.axvspan(low, high, color="#eef1f4", zorder=0)
    text, look = f"meta-training width{'s' * (len(widths) > 1)}", {"va": "bottom", "color": style.GREY, "fontsize": 8.5}
    axes.text(low, 1.035, text, transform=axes.get_xaxis_transform(), **look)


def _legend(figure: Any, axes: Any) -> None:
    """Every label once, whichever panel has it."""
    by_label: dict[str, Any] = {}
    for panel in np.ravel(axes):
        handles, labels = panel.get_legend_handles_labels()
        by_label |= {name: by_label.get(name, handle) for handle, name in zip(handles, labels, strict=True)}
    figure.legend(list(by_label.values()), list(by_label), loc="outside right center")


def curves(record: Record, stem: Path, title: str) -> None:
    """Training loss over inner steps at the largest width, a panel per combination of what else varies."""
    conditions, look = largest(record), looks(record)
    with style.picture(stem, len(conditions), 1, (7.2, _ROW * len(conditions) + 0.6)) as (figure, axes):
        for panel, condition in zip(axes[:, 0], conditions, strict=True):
            steps, values = curves_under(record, condition)
            _curve_panel(panel, values, steps, look)
            diverged = sum(bool(np.isnan(seeds).any()) for seeds in values.values())
            panel.set_title(title_of(record, condition), fontsize=9, pad=6 + 11 * diverged)
        _legend(figure, axes)
        figure.suptitle(title)


def _curve_panel(
    axes: Any, values: Mapping[str, np.ndarray], steps: np.ndarray, look: Mapping[str, style.Line]
) -> None:
    medians = [_curve(axes, steps, curves, look[name], name) for name, curves in values.items()]
    style.loss_axis(axes, np.concatenate(medians) if medians else [])
    first = [curves[:, 0].max() for curves in values.values() if np.isfinite(curves[:, 0]).all()]
    if first and axes.get_ylim()[1] > 4 * max(first):
        axes.set_ylim(top=4 * max(first))
    stopped = [(name, curves) for name, curves in values.items() if np.isnan(curves).any()]
    for rank, (name, curves) in enumerate(stopped):
        for end in set(np.isfinite(curves).sum(axis=1)) - {curves.shape[1]}:
            style.cross(axes, steps[end], rank - len(stopped), look[name].color)
    if stopped:
        axes.plot([], [], "x", color=style.GREY, label="seed diverges")
    axes.set(xlabel="inner step", ylabel="train loss (running median)")


def _curve(axes: Any, steps: np.ndarray, values: np.ndarray, look: style.Line, name: str) -> np.ndarray:
    """Median and range over all seeds that have not diverged by then; returns the median."""
    alive = np.isfinite(values).any(axis=0)
    steps, values = steps[alive], values[:, alive]
    median = np.nanmedian(values, axis=0) if alive.any() else np.array([])
    if alive.any():
        band = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(steps, *band, color=look.color, alpha=0.18, linewidth=0)
    axes.plot(steps, median, color=look.color, linestyle=look.linestyle, label=name)
    return median


def _ranks(record: Record, stem: Path, title: str) -> None:
    """Mean ranks with intervals as bars, a panel per ranking, best method of the first on top."""
    ranked, look = rankings(record), looks(record)
    if not ranked:
        return final_losses(record, stem, title)
    names = sorted(ranked[0].ranks, key=lambda name: -ranked[0].ranks[name].value)
    size = (2.3 * len(ranked) + 2.2, 0.34 * len(names) + 1.5)
    with style.picture(stem, 1, len(ranked), size, sharey=True) as (figure, axes):
        for panel, ranking in zip(axes[0], ranked, strict=True):
            _bars(panel, ranking, names, look)
        figure.suptitle(f"{title}: mean rank (lower is better)")


def _bars(axes: Any, ranking: Ranking, names: Sequence[str], look: Mapping[str, style.Line]) -> None:
    intervals = [ranking.ranks[name] for name in names]
    values = [rank.value for rank in intervals]
    axes.barh(names, values, color=[look[name].color for name in names], height=0.7)
    whiskers = [[rank.value - rank.low for rank in intervals], [rank.high - rank.value for rank in intervals]]
    axes.errorbar(values, names, xerr=np.clip(whiskers, 0, None), fmt="none", ecolor="black", capsize=2.5)
    axes.set_title(ranking.title, fontsize=9)
    axes.set_xlim(0, len(names) + 0.3)
    axes.set_xlabel("mean rank")


def _transfer(record: Record, stem: Path, title: str) -> None:
    """Training loss over the setting: a row per task, a column per method, a line per width with its best value."""
    transfers = transfer.transfers(record)
    if not transfers:
        return final_losses(record, stem, title)
    tasks, methods = (list(dict.fromkeys(shown[i] for shown in transfers)) for i in (1, 0))
    size = (2.6 * len(methods) + 1.4, 2.5 * len(tasks) + 0.8)
    with style.picture(stem, len(tasks), len(methods), size) as (figure, axes):
        missing = dict(np.ndenumerate(axes))
        for shown in transfers:
            _transfer_panel(missing.pop((tasks.index(shown.task), methods.index(shown.method))), shown, record)
        for panel in missing.values():
            panel.set_axis_off()
        for row in axes:
            row[0].set_ylabel("train loss")
        _legend(figure, axes)
        figure.suptitle(title)


def _transfer_panel(axes: Any, shown: transfer.Transfer, record: Record) -> None:
    values = sorted({value for rows in shown.points.values() for value in rows.value})
    for width, color in transfer.colors(record).items():
        if width in shown.points:
            rows = shown.points[width].set_index("value")[["low", "median", "high"]].clip(upper=shown.ceiling)
            median, whiskers = rows["median"], [rows["median"] - rows.low, rows.high - rows["median"]]
            look = {"color": color, "marker": "o", "markersize": 3.5, "capsize": 2, "label": f"width {width}"}
            axes.errorbar(rows.index, median, whiskers, **look)
            axes.plot(shown.best[width], median.get(shown.best[width]), "*", color=color, markersize=13, zorder=4)
    axes.plot([], [], "*", color=style.GREY, markersize=13, label="best")
    style.size_axis(axes, values, transfer.setting(record), labelled=4)
    style.loss_axis(axes, pd.concat(shown.points.values())["median"].clip(upper=shown.ceiling))
    axes.set_title(f"{shown.method}, {shown.task}")


_KINDS: dict[str, Callable[[Record, Path, str], None]] = {"curves": curves, "ranks": _ranks, "transfer": _transfer}
