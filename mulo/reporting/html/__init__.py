"""A record as one HTML file that needs nothing else: text, interactive curves and tables.

`page` turns a `Page` into the file's text. It loads nothing, from disk or network, and a policy in its head forbids it
to; curves are drawn by uPlot (`uplot/`, MIT licence), which is copied into it.
"""

from mulo.reporting.html.content import Chart, Page, Series, Table
from mulo.reporting.html.render import page

__all__ = ["Chart", "Page", "Series", "Table", "page"]
