"""The picture of a coordinate check: how much each layer's pre-activations change, over width or over depth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mulo.reporting import style
from mulo.reporting.labels import label

Lines = dict[str, pd.DataFrame]
"""Changes of one panel by layer, sizes ascending."""

_MEASURES = {"x_t - x_0": "$x_t - x_0$", "(W_t - W_0) x": r"$(W_t - W_0)\,x$"}
_GAP = 0.095
"""Least distance of two slopes printed one above the other, as a share of the panel."""


def coordinate_check(changes: pd.DataFrame, stem: Path, title: str) -> None:
    """Standard deviation over width or depth on log-log axes: a row per measure, a column per parametrization and t.

    `changes` are those of one method, over the same in all. One line per layer, with the slope of log std over log size
    at its end. Exact zeros are left out, because they have no logarithm.
    """
    measures, colors = changes.measure.unique(), _colors(changes)
    columns = sorted(set(zip(changes.parametrization, changes.t, strict=True)))
    size = (1.75 * len(columns) + 1.8, max(2.1, 0.16 * len(colors) + 0.3) * len(measures) + 0.9)
    with style.picture(stem, len(measures), len(columns), size, sharex=True, sharey="row") as (figure, axes):
        drawn = [[_lines(changes, measure, *column) for column in columns] for measure in measures]
        panels = [(axes[i, j], lines) for i, row in enumerate(drawn) for j, lines in enumerate(row)]
        for panel, lines in panels:
            _draw(panel, lines, colors)
        # After all lines: only now are the shared limits known.
        for panel, lines in panels:
            _print_slopes(panel, lines, colors)
        for panel, (parametrization, t) in zip(axes[0], columns, strict=True):
            panel.set_title(f"{label(parametrization)}, $t = {t}$")
        for panel, measure in zip(axes[:, 0], measures, strict=True):
            panel.set_ylabel(f"std of {_MEASURES.get(measure, measure)}")
        for panel in axes.flat:
            _size_axis(panel, changes)
        _legend(figure, colors)
        figure.suptitle(title)


def coordinate_overview(changes: pd.DataFrame, stem: Path, title: str, measure: str, t: int) -> None:
    """One change of a network under several methods: a row per parametrization, a column per method.

    Above every panel is the range of its slopes. The parametrization may be "" in all rows, and is not named then.
    """
    here = changes[(changes.measure == measure) & (changes.t == t)]
    colors, parametrizations, methods = _colors(here), sorted(here.parametrization.unique()), here.method.unique()
    size = (1.9 * len(methods) + 2.1, 1.9 * len(parametrizations) + 0.9)
    with style.picture(stem, len(parametrizations), len(methods), size, sharex=True, sharey=True) as (figure, axes):
        for i, parametrization in enumerate(parametrizations):
            named = f"{label(parametrization)}: " if parametrization else ""
            axes[i, 0].set_ylabel(f"{named}std of {_MEASURES.get(measure, measure)}")
            for j, method in enumerate(methods):
                rows, name = here[here.method == method], label(method) if i == 0 else ""
                _draw_overview(axes[i, j], rows[rows.parametrization == parametrization], colors, name)
        _legend(figure, colors, "layer")
        figure.suptitle(f"{title}, $t = {t}$")


def _colors(changes: pd.DataFrame) -> dict[str, Any]:
    layers = changes.layer.unique()
    return dict(zip(layers, style.sequence(len(layers)), strict=True))


def _draw_overview(axes: Any, rows: pd.DataFrame, colors: Mapping[str, Any], title: str) -> None:
    span = "not measured"
    if rows.empty:
        axes.set_axis_off()
    else:
        lines = _lines(rows, rows.measure.iloc[0], rows.parametrization.iloc[0], rows.t.iloc[0])
        _draw(axes, lines, colors)
        slopes = rows.slope[np.isfinite(rows.slope)]
        span = (
            f"slopes {slopes.min():+.2f} … {slopes.max():+.2f}".replace("-", "−") if len(slopes) else "nothing changes"
        )
        _size_axis(axes, pd.concat(lines.values()) if lines else rows.iloc[:0])
    axes.set_title(f"{title}\n{span}".strip(), fontsize=9)


def _lines(changes: pd.DataFrame, measure: str, parametrization: str, t: int) -> Lines:
    here = (changes.measure == measure) & (changes.parametrization == parametrization) & (changes.t == t)
    drawn = changes[here & (changes["std"] > 0) & np.isfinite(changes["std"])].sort_values("size", kind="stable")
    return dict(list(drawn.groupby("layer", sort=False)))


def _draw(axes: Any, lines: Lines, colors: Mapping[str, Any]) -> None:
    axes.set_yscale("log")
    for layer, rows in lines.items():
        axes.plot(rows["size"], rows["std"], color=colors[layer], marker="o", markersize=3.2, linewidth=1.5)


def _print_slopes(axes: Any, lines: Lines, colors: Mapping[str, Any]) -> None:
    low, high = np.log(axes.get_ylim())
    ends = np.array([(np.log(rows["std"].iloc[-1]) - low) / (high - low) for rows in lines.values()])
    for (layer, rows), height in zip(lines.items(), _spread(ends), strict=True):
        text = f"{rows.slope.iloc[-1]:+.2f}".replace("-", "−")
        axes.text(1.03, height, text, transform=axes.transAxes, va="center", color=colors[layer], fontsize=8)


def _spread(heights: np.ndarray) -> np.ndarray:
    """The nearest heights (least squares) that are _GAP apart, or as far as the panel, from 0 to 1, allows."""
    from scipy.optimize import isotonic_regression

    order, spread = np.argsort(heights, kind="stable"), np.array(heights, float)
    gaps = min(_GAP, 1 / max(1, len(heights) - 1)) * np.arange(len(heights))
    if len(heights):
        spread[order] = np.clip(isotonic_regression(spread[order] - gaps).x, 0, 1 - gaps[-1]) + gaps
    return spread


def _size_axis(axes: Any, changes: pd.DataFrame) -> None:
    """Named after what the changes are over; nothing to name where nothing changes."""
    for over in changes.over.unique():
        style.size_axis(axes, sorted(changes["size"].unique().tolist()), over, labelled=3)
    axes.tick_params(labelsize=8)
    axes.label_outer()


def _legend(figure: Any, colors: Mapping[str, Any], title: str = "layer (slopes\nat the line ends)") -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, marker="o", markersize=3.2) for color in colors.values()]
    figure.legend(handles, list(colors), loc="outside right center", title=title, fontsize=8)
