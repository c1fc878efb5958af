"""The picture of a coordinate check: how much each layer's pre-activations move, over width or depth."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mulo.reporting import style
from mulo.reporting.labels import label

Row = Mapping[str, Any]
Lines = dict[str, list[Row]]
"""Rows of one panel by layer, sizes ascending."""

_MEASURES = {"x_t - x_0": "$x_t - x_0$", "(W_t - W_0) x": r"$(W_t - W_0)\,x$"}
_GAP = 0.095
"""Least distance of two slopes printed one above the other, as a share of the panel."""


def coordinate_check(rows: Sequence[Row], stem: Path, title: str) -> None:
    """Standard deviation over width or depth on log-log axes: a row per measure, a column per parametrization and t.

    Rows have the keys parametrization, measure, layer, t, over (the same in all), size, std and slope. One line per
    layer, with the slope of log std over log size at its end. Exact zeros are left out: a logarithm has no place for
    them.
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
        _name(axes, measures, columns, rows)
        _legend(figure, colors)
        figure.suptitle(title)


def coordinate_overview(rows: Sequence[Row], stem: Path, title: str, measure: str, t: int) -> None:
    """One movement of a network under several optimizers: a row per parametrization, a column per optimizer.

    Rows have the keys of `coordinate_check` and optimizer. Above every panel stands the range of its slopes. The
    parametrization may be "" in all rows, where it is no matter.
    """
    here = [row for row in rows if row["measure"] == measure and row["t"] == t]
    layers = list(dict.fromkeys(row["layer"] for row in here))
    schemes = sorted({row["parametrization"] for row in here})
    optimizers = list(dict.fromkeys(row["optimizer"] for row in here))
    colors = dict(zip(layers, style.sequence(len(layers)), strict=True))
    size = (1.9 * len(optimizers) + 2.1, 1.9 * len(schemes) + 0.9)
    with style.picture(stem, len(schemes), len(optimizers), size, sharex=True, sharey=True) as (figure, axes):
        for i, scheme in enumerate(schemes):
            named = f"{label(scheme)}: " if scheme else ""
            axes[i, 0].set_ylabel(f"{named}std of {_MEASURES.get(measure, measure)}")
            for j, optimizer in enumerate(optimizers):
                own = [row for row in here if (row["optimizer"], row["parametrization"]) == (optimizer, scheme)]
                if not own:
                    axes[i, j].set_axis_off()
                    axes[i, j].set_title(f"{label(optimizer) if i == 0 else ''}\nnot measured".strip(), fontsize=9)
                    continue
                _draw_overview(axes[i, j], _lines(own, measure, scheme, t), colors, label(optimizer) if i == 0 else "")
        _legend(figure, colors, "layer")
        figure.suptitle(f"{title}, $t = {t}$")


def _draw_overview(axes: Any, lines: Lines, colors: Mapping[str, Any], title: str) -> None:
    _draw(axes, lines, colors)
    slopes = [rows[0]["slope"] for rows in lines.values() if np.isfinite(rows[0]["slope"])]
    span = f"slopes {min(slopes):+.2f} … {max(slopes):+.2f}".replace("-", "−") if slopes else "nothing moves"
    axes.set_title(f"{title}\n{span}".strip(), fontsize=9)
    _size_axis(axes, [row for rows in lines.values() for row in rows])
    axes.tick_params(labelsize=8)
    axes.label_outer()


def _lines(rows: Sequence[Row], measure: str, parametrization: str, t: int) -> Lines:
    lines: Lines = {}
    for row in sorted(rows, key=lambda row: row["size"]):
        here = (row["measure"], row["parametrization"], row["t"]) == (measure, parametrization, t)
        if here and row["std"] > 0 and np.isfinite(row["std"]):
            lines.setdefault(row["layer"], []).append(row)
    return lines


def _draw(axes: Any, lines: Lines, colors: Mapping[str, Any]) -> None:
    axes.set_yscale("log")
    for layer, rows in lines.items():
        sizes, deviations = [row["size"] for row in rows], [row["std"] for row in rows]
        axes.plot(sizes, deviations, color=colors[layer], marker="o", markersize=3.2, linewidth=1.5)


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


def _name(axes: Any, measures: Sequence[str], columns: Sequence[tuple[str, int]], rows: Sequence[Row]) -> None:
    for panel, (parametrization, t) in zip(axes[0], columns, strict=True):
        panel.set_title(f"{label(parametrization)}, $t = {t}$")
    for panel, measure in zip(axes[:, 0], measures, strict=True):
        panel.set_ylabel(f"std of {_MEASURES.get(measure, measure)}")
    for panel in axes.flat:
        _size_axis(panel, rows)
        panel.tick_params(labelsize=8)
        panel.label_outer()


def _size_axis(axes: Any, rows: Sequence[Row]) -> None:
    """Named after what the rows are over; nothing to name where nothing moves."""
    for over in {row["over"] for row in rows}:
        style.size_axis(axes, sorted({row["size"] for row in rows}), over, labelled=3)


def _legend(figure: Any, colors: Mapping[str, Any], title: str = "layer (slopes\nat the line ends)") -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, marker="o", markersize=3.2) for color in colors.values()]
    figure.legend(handles, list(colors), loc="outside right center", title=title, fontsize=8)
