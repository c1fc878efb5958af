"""How numbers are written: short, and the same everywhere."""

import json
import math
from typing import Any

import numpy as np

from mulo.reporting.html.content import Cell, Chart, Numbers, Series

DIGITS = 5
X_DIGITS = 9  # distinguishes steps up to a thousand million


def written(cell: Cell) -> str:
    """A cell's text: numbers with five significant digits, whole ones in full, and – for what is not finite."""
    if isinstance(cell, str):
        return cell
    if not math.isfinite(cell):
        return "–"
    text = str(cell) if isinstance(cell, int | np.integer) else f"{cell:.{DIGITS}g}"
    return text.replace("-", "−")


def chart_data(charts: tuple[Chart, ...] | list[Chart]) -> str:
    """What the page's scripts read, as JSON that may stand inside a <script>: no character of it can end one."""
    text = json.dumps([_chart(chart) for chart in charts], ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _chart(chart: Chart) -> dict[str, Any]:
    axes = {"xLabel": chart.x_label, "logX": chart.log_x, "logY": chart.log_y, "yMax": chart.y_max}
    grids: list[list[float | None]] = []
    return axes | {"series": [_series(series, grids) for series in chart.series], "x": grids}


def _series(series: Series, grids: list[list[float | None]]) -> dict[str, Any]:
    """A series whose x is an index into `grids`, which holds equal ones once."""
    x = _rounded(series.x, X_DIGITS)
    if x not in grids:
        grids.append(x)
    plain = {"label": series.label, "color": series.color, "dashed": series.dashed, "x": grids.index(x)}
    plain["y"] = _rounded(series.y, DIGITS)
    if series.low is not None and series.high is not None:
        plain |= {"low": _rounded(series.low, DIGITS), "high": _rounded(series.high, DIGITS)}
    return plain


def _rounded(values: Numbers, digits: int) -> list[float | None]:
    return [_short(float(f"{value:.{digits}g}")) for value in values]


def _short(value: float) -> float | int | None:
    """JSON has no nan; and 3 is shorter than 3.0."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e9 else value
