"""A page's text: templates and scripts from `assets/`, filled in."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from mulo.reporting.html.content import Cell, Chart, Page, Series, Table
from mulo.reporting.html.numbers import chart_data, written

_STYLES = ("uplot/uPlot.min.css", "assets/page.css", "assets/chart.css", "assets/table.css")
_POLICY = "default-src 'none'; img-src data:"
_HINT = """<p class="note hint">Point at a chart to read its values. A name shows and hides its curves in all charts.
<span class="mouse">Drag sideways to zoom, double-click to return.</span></p>
"""
_LIBRARY = "uplot/uPlot.iife.min.js"
_SCRIPTS = ("assets/ticks.js", "assets/chart.js", "assets/tooltip.js", "assets/page.js")


def page(content: Page) -> str:
    """The HTML file of a page: complete, without references to anything outside, the same text for the same content.

    Its scripts are allowed by their digests alone, so that nothing in the data could run even if it were not escaped.
    """
    style = "\n".join(map(_asset, _STYLES))
    library, script = _asset(_LIBRARY), _script()
    return _filled(
        "page.html",
        policy=f"{_POLICY}; style-src {_digests(style)}; script-src {_digests(library, script)}",
        title=escape(content.title),
        style=style,
        licence=_asset("uplot/LICENSE").strip(),
        summary="".join(f"<p>{escape(text)}</p>\n" for text in content.summary),
        hint=_HINT if content.charts else "",
        charts="".join(map(_figure, content.charts)),
        tables="".join(map(_table, content.tables)),
        footer=escape(content.footer),
        data=chart_data(list(content.charts)),
        library=library,
        script=script,
    )


def _script() -> str:
    """The page's scripts as one, in a scope of its own."""
    return '(() => {\n"use strict";\n' + "\n".join(map(_asset, _SCRIPTS)) + "})();\n"


@cache
def _asset(name: str) -> str:
    return files("mulo.reporting.html").joinpath(name).read_text(encoding="utf-8")


def _filled(template: str, **values: str) -> str:
    return Template(_asset(f"assets/{template}")).substitute(values)


def _digests(*texts: str) -> str:
    """Sources of a content security policy: exactly these inline texts."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{each}'" for each in hashes)


def _figure(chart: Chart) -> str:
    return _filled(
        "figure.html",
        title=escape(chart.title),
        x_label=escape(chart.x_label),
        y_label=escape(chart.y_label),
        legend="".join(map(_pill, chart.series)),
        note=f'<p class="note">{escape(chart.note)}</p>' if chart.note else "",
    )


def _pill(series: Series) -> str:
    dashed = " dashed" if series.dashed else ""
    swatch = f'<span class="swatch{dashed}"></span>'
    return f'<button type="button" class="pill" aria-pressed="true">{swatch}{escape(series.label)}</button>\n'


def _table(table: Table) -> str:
    columns = zip(*table.rows, strict=True) if table.rows else ([] for _ in table.header)
    kinds = ["number" if _numeric(column) else "text" for column in columns]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(text)}</th>' for kind, text in zip(kinds, table.header, strict=True)
    )
    rows = "".join(f"<tr>{_row(table, i, kinds)}</tr>\n" for i in range(len(table.rows)))
    title, caption = escape(table.title), f"<h2>{escape(table.title)}</h2>" if table.title else ""
    return _filled("table.html", title=title or "table", caption=caption, head=head, rows=rows)


def _row(table: Table, i: int, kinds: Sequence[str]) -> str:
    cells = []
    for j, (cell, kind) in enumerate(zip(table.rows[i], kinds, strict=True)):
        best = " best" if (i, j) in table.best else ""
        cells.append(f'<td class="{kind}{best}">{escape(written(cell))}</td>')
    return "".join(cells)


def _numeric(column: Sequence[Cell]) -> bool:
    """Whether most cells with text begin as a number does: a "diverged" among losses is aligned as they are."""
    texts = [text for text in map(written, column) if text not in ("", "–", "-")]
    return 2 * sum(text.lstrip("+-−±< ")[:1].isdigit() for text in texts) > len(texts)
