"""The picture of a coordinate check: how much each layer's pre-activations move, over width."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mulo.reporting import style
from mulo.reporting.labels import label

Row = Mapping[str, Any]
Lines = dict[str, list[Row]]
"""Rows of one panel by layer, widths ascending."""

_MEASURES = {"x_t - x_0": "$x_t - x_0$", "(W_t - W_0) x": r"$(W_t - W_0)\,x$"}
_GAP = 0.095
"""Least distance of two slopes printed one above the other, as a share of the panel."""


def coordinate_check(rows: Sequence[Row], stem: Path, title: str) -> None:
    """Standard deviation over width on log-log axes: a row per measure, a column per parametrization and t.

    Rows have the keys parametrization, measure, layer, t, width, std and slope. One line per layer, with the
    slope of log std over log width at its end. Exact zeros are left out: a logarithm has no place for them.
    """
    measures, layers = (list(dict.fromkeys(row[key] for row in rows)) for key in ("measure", "layer"))
    columns = sorted({(row["parametrization"], row["t"]) for row in rows})
    colors = dict(zip(layers, style.sequence(len(layers)), strict=True))
    size = (1.75 * len(columns) + 1.8, 2.1 * len(measures) + 0.9)
    with style.picture(stem, len(measures), len(columns), size, sharex=True, sharey="row") as (figure, axes):
        found = [[_lines(rows, measure, *column) for column in columns] for measure in measures]
        panels = [(axes[i, j], lines) for i, row in enumerate(found) for j, lines in enumerate(row)]
        for panel, lines in panels:
            _draw(panel, lines, colors)
        # After all lines: only now are the shared limits known.
        for panel, lines in panels:
            _print_slopes(panel, lines, colors)
        _name(axes, measures, columns, sorted({row["width"] for row in rows}))
        _legend(figure, colors)
        figure.suptitle(title)


def _lines(rows: Sequence[Row], measure: str, parametrization: str, t: int) -> Lines:
    lines: Lines = {}
    for row in sorted(rows, key=lambda row: row["width"]):
        here = (row["measure"], row["parametrization"], row["t"]) == (measure, parametrization, t)
        if here and row["std"] > 0 and np.isfinite(row["std"]):
            lines.setdefault(row["layer"], []).append(row)
    return lines


def _draw(axes: Any, lines: Lines, colors: Mapping[str, Any]) -> None:
    axes.set_yscale("log")
    for layer, rows in lines.items():
        widths, deviations = [row["width"] for row in rows], [row["std"] for row in rows]
        axes.plot(widths, deviations, color=colors[layer], marker="o", markersize=3.2, linewidth=1.5)


def _print_slopes(axes: Any, lines: Lines, colors: Mapping[str, Any]) -> None:
    low, high = np.log(axes.get_ylim())
    ends = np.array([(np.log(rows[-1]["std"]) - low) / (high - low) for rows in lines.values()])
    for (layer, rows), height in zip(lines.items(), _spread(ends), strict=True):
        text = f"{rows[-1]['slope']:+.2f}".replace("-", "−")
        axes.text(1.03, height, text, transform=axes.transAxes, va="center", color=colors[layer], fontsize=8)


def _spread(places: np.ndarray) -> np.ndarray:
    """Pushes places apart, neighbours by equal amounts, until they are _GAP away from each other."""
    order = np.argsort(places, kind="stable")
    spread = np.array(places, float)
    for _ in range(100):
        for below, above in pairwise(order):
            push = max(0.0, _GAP - (spread[above] - spread[below])) / 2
            spread[below] -= push
            spread[above] += push
    return spread


def _name(axes: Any, measures: Sequence[str], columns: Sequence[tuple[str, int]], widths: list[int]) -> None:
    for panel, (parametrization, t) in zip(axes[0], columns, strict=True):
        panel.set_title(f"{label(parametrization)}, $t = {t}$")
    for panel, measure in zip(axes[:, 0], measures, strict=True):
        panel.set_ylabel(f"std of {_MEASURES.get(measure, measure)}")
    for panel in axes.flat:
        style.width_axis(panel, widths, labelled=3)
        panel.tick_params(labelsize=8)
        panel.label_outer()


def _legend(figure: Any, colors: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, marker="o", markersize=3.2) for color in colors.values()]
    figure.legend(handles, list(colors), loc="outside right center", title="layer (slopes\nat the line ends)")
