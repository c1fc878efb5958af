"""The picture of a record, figure.svg and figure.png, as `sweep.figure` asks for it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulo.evaluation.statistics import Spread
from mulo.reporting import style
from mulo.reporting.plots import shade
from mulo.reporting.record import coordinates
from mulo.reporting.record.cells import Cells, contestants, curves, steps_of
from mulo.reporting.record.comparisons import Ranking, largest, rankings
from mulo.reporting.record.contents import Record
from mulo.reporting.record.panels import Panel, panels
from mulo.reporting.record.panels import title as title_of

_ROW = 3.4


def figure(record: Record, cells: Cells, stem: Path, title: str) -> None:
    """Draws it; a record without results has an empty picture that says so."""
    if record.movements:
        coordinates.figure(record, stem, title)
    elif not cells:
        _empty(stem, title)
    else:
        _KINDS.get(record.sweep.figure, _final_losses)(record, cells, stem, title)


def looks(record: Record) -> dict[str, style.Line]:
    """Colour, marker and dashes of each contestant, by its printed name."""
    names = contestants(record)
    found = style.lines(list(names))
    return {names[pair]: look for pair, look in found.items()}


def _empty(stem: Path, title: str) -> None:
    with style.picture(stem, 1, 1, (6, 2)) as (figure, axes):
        axes[0, 0].text(0.5, 0.5, "no results", ha="center", transform=axes[0, 0].transAxes)
        axes[0, 0].set_axis_off()
        figure.suptitle(title)


def _final_losses(record: Record, cells: Cells, stem: Path, title: str) -> None:
    """Test (left) and training loss (right) over the axis, a row per combination of what else varies."""
    own, look = panels(record, cells), looks(record)
    with style.picture(stem, len(own), 2, (9.6, _ROW * len(own) + 0.7)) as (figure, axes):
        for row, panel in zip(axes, own, strict=True):
            for place, split in zip(row, ("test", "train"), strict=True):
                _losses(place, panel, split, look)
                _shade(record, place, panel)
            if len(own) > 1:
                row[0].set_title(panel.title, loc="left", fontsize=9, pad=18 if panel.axis == "width" else 8)
        _legend(figure, axes)
        figure.suptitle(title if len(own) > 1 else f"{title}: {own[0].title}")


def _losses(axes: Any, panel: Panel, split: str, look: Mapping[str, style.Line]) -> None:
    for name, points in panel.lines.items():
        spreads = [getattr(point, split) for point in points]
        low, median, high = _within(panel, [(one.low, one.median, one.high) for one in spreads])
        x = [point.x for point in points]
        axes.plot(x, median, **look[name]._asdict(), label=name)
        whiskers = median - low, high - median
        axes.errorbar(x, median, whiskers, fmt="none", ecolor=look[name].color, capsize=2.5, elinewidth=1.2)
    _axis(axes, panel)
    medians = [getattr(point, split).median for points in panel.lines.values() for point in points]
    style.loss_axis(axes, np.minimum(medians, panel.ceiling))
    axes.set_ylabel(f"{split} loss")
    _cap(axes, panel, split, look)
    _crosses(axes, panel, split, look)


def _within(panel: Panel, values: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Quantities by row, at most as large as the axis is high; a gap where there is nothing."""
    found = np.minimum(np.array(values, float).T, panel.ceiling)
    return np.where(np.isfinite(found), found, np.nan)


def _cap(axes: Any, panel: Panel, split: str, look: Mapping[str, style.Line]) -> None:
    """Ends the axis at the ceiling where some median is above it; a triangle at the edge stands for each that is."""
    points = [(name, point.x, getattr(point, split).median) for name, own in panel.lines.items() for point in own]
    above = [(name, x) for name, x, median in points if median > panel.ceiling]
    if not above:
        return
    axes.set_ylim(0.85 * min(median for _, _, median in points if median > 0), panel.ceiling)
    for name, x in above:
        axes.plot(x, panel.ceiling, "^", color=look[name].color, markersize=8, clip_on=False, zorder=5)
    axes.plot([], [], "^", color=style.GREY, linestyle="none", label="beyond the axis")


def _axis(axes: Any, panel: Panel) -> None:
    if panel.numeric and all(float(tick) > 0 for tick in panel.ticks):
        style.size_axis(axes, sorted(_short(float(tick)) for tick in panel.ticks), panel.axis)
    elif not panel.numeric:
        axes.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=20, ha="right", fontsize=8)
        axes.set_xlabel(panel.axis)
    else:
        axes.set_xlabel(panel.axis)


def _short(value: float) -> float:
    """64 in place of 64.0."""
    return int(value) if value.is_integer() else value


def _crosses(axes: Any, panel: Panel, split: str, look: Mapping[str, style.Line]) -> None:
    places = Counter[float]()
    for name, points in panel.lines.items():
        for point in points:
            found: Spread = getattr(point, split)
            if found.exploded:
                style.cross(axes, point.x, places[point.x], look[name].color, f"{found.exploded}/{found.seeds}")
                places[point.x] += 1
    if places:
        style.headroom(axes, 0.05 * max(places.values()))
        axes.plot([], [], "x", color=style.GREY, label="exploded\n(of all seeds)")


def _shade(record: Record, axes: Any, panel: Panel) -> None:
    widths = {width for job in record.jobs for width in job.trained_widths.get(panel.task, [])}
    if panel.axis == "width" and widths:
        shade(axes, sorted(widths))


def _legend(figure: Any, axes: Any) -> None:
    """Every label once, whichever panel has it."""
    found: dict[str, Any] = {}
    for panel in np.ravel(axes):
        handles, labels = panel.get_legend_handles_labels()
        found |= {name: found.get(name, handle) for handle, name in zip(handles, labels, strict=True)}
    figure.legend(list(found.values()), list(found), loc="outside right center")


def _curves(record: Record, cells: Cells, stem: Path, title: str) -> None:
    """Training loss over inner steps at the largest width, a panel per combination of what else varies."""
    places, look = largest(cells), looks(record)
    with style.picture(stem, len(places), 1, (7.2, _ROW * len(places) + 0.6)) as (figure, axes):
        for panel, place in zip(axes[:, 0], places, strict=True):
            found = {name: list(curves(record, rows).values()) for name, rows in cells[place].items()}
            values = {name: np.concatenate(own) for name, own in found.items() if own}
            _curve_panel(panel, values, steps_of(record, place) if values else np.array([]), look)
            panel.set_title(title_of(record, cells, place), fontsize=9, pad=6 + 11 * _diverged(values))
        _legend(figure, axes)
        figure.suptitle(title)


def _curve_panel(
    axes: Any, values: Mapping[str, np.ndarray], steps: np.ndarray, look: Mapping[str, style.Line]
) -> None:
    medians = [_curve(axes, steps, own, look[name], name) for name, own in values.items()]
    style.loss_axis(axes, np.concatenate(medians) if medians else [])
    first = [own[:, 0].max() for own in values.values() if np.isfinite(own[:, 0]).all()]
    if first and axes.get_ylim()[1] > 4 * max(first):
        axes.set_ylim(top=4 * max(first))
    stopped = [(name, own) for name, own in values.items() if np.isnan(own).any()]
    for place, (name, own) in enumerate(stopped):
        for end in set(np.isfinite(own).sum(axis=1)) - {own.shape[1]}:
            style.cross(axes, steps[end], place - len(stopped), look[name].color)
    if stopped:
        axes.plot([], [], "x", color=style.GREY, label="seed diverges")
    axes.set(xlabel="inner step", ylabel="train loss (running median)")


def _diverged(values: Mapping[str, np.ndarray]) -> int:
    """How many contestants have a seed that stops."""
    return sum(bool(np.isnan(own).any()) for own in values.values())


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


def _ranks(record: Record, cells: Cells, stem: Path, title: str) -> None:
    """Mean ranks with intervals as bars, a panel per ranking, best contestant of the first on top."""
    found, look = rankings(record, cells), looks(record)
    if not found:
        return _final_losses(record, cells, stem, title)
    names = sorted(found[0].ranks, key=lambda name: -found[0].ranks[name].value)
    size = (2.3 * len(found) + 2.2, 0.34 * len(names) + 1.5)
    with style.picture(stem, 1, len(found), size, sharey=True) as (figure, axes):
        for panel, one in zip(axes[0], found, strict=True):
            _bars(panel, one, names, look)
        figure.suptitle(f"{title}: mean rank (lower is better)")


def _bars(axes: Any, found: Ranking, names: Sequence[str], look: Mapping[str, style.Line]) -> None:
    own = [found.ranks[name] for name in names]
    values = [rank.value for rank in own]
    axes.barh(names, values, color=[look[name].color for name in names], height=0.7)
    whiskers = [[rank.value - rank.low for rank in own], [rank.high - rank.value for rank in own]]
    axes.errorbar(values, names, xerr=np.clip(whiskers, 0, None), fmt="none", ecolor="black", capsize=2.5)
    axes.set_title(found.title, fontsize=9)
    axes.set_xlim(0, len(names) + 0.3)
    axes.set_xlabel("mean rank")


_KINDS: dict[str, Callable[[Record, Cells, Path, str], None]] = {"curves": _curves, "ranks": _ranks}
