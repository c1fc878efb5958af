"""The page of a record: claims, final losses and curves as charts, and the tables of its README."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from mulo.evaluation.statistics import quartiles
from mulo.reporting import style
from mulo.reporting.html import Chart, Page, Series, Table
from mulo.reporting.record import grids, sentences
from mulo.reporting.record.cells import Cells, Place, curves, steps_of
from mulo.reporting.record.comparisons import largest, rankings, reference, speedups
from mulo.reporting.record.contents import Loss, Record
from mulo.reporting.record.figures import looks
from mulo.reporting.record.grids import Grid
from mulo.reporting.record.movements import said
from mulo.reporting.record.panels import Panel, ceiling, panels
from mulo.reporting.record.panels import title as title_of
from mulo.reporting.record.verdicts import verdicts

_BAND = (
    "Medians over all trainings; bands reach from quartile to quartile. A training that diverged counts as infinite."
)


def contents(record: Record, cells: Cells, title: str) -> Page:
    """Everything that the page shows."""
    return Page(
        title=title,
        summary=list(_summary(record)),
        charts=list(_charts(record, cells)) if cells else [],
        tables=[_table(grid) for grid in _grids(record, cells) if grid.rows],
        footer=f"{sentences.cost(record)} {sentences.origin(record)}",
    )


def _summary(record: Record) -> Iterable[str]:
    head = record.sweep
    yield from (text for text in (head.question, f"The paper: {head.paper}" if head.paper else "") if text)
    missing = len(grids.jobs_not_finished(record).rows)
    if missing:
        yield f"Incomplete: {missing} of {len(record.jobs)} jobs did not finish."
    yield from (sentence.replace("**", "") for sentence in (said(record) if record.movements else []))
    for one in verdicts(record):
        yield f"{one.outcome[0].upper()}{one.outcome[1:]}: {one.claim.text}. {one.because}"


def _charts(record: Record, cells: Cells) -> Iterable[Chart]:
    look = looks(record)
    for panel in panels(record, cells):
        if panel.numeric:
            for split in ("train", "test"):
                yield _final(panel, split, look)
    for place in largest(cells):
        over_steps = [_over_steps(record, cells, place, look), _tests(record, cells, place, look)]
        yield from (chart for chart in over_steps if chart.series)


def _final(panel: Panel, split: str, look: Mapping[str, style.Line]) -> Chart:
    series = []
    for name, points in panel.lines.items():
        found = [getattr(point, split) for point in points]
        low, median, high = np.array([(one.low, one.median, one.high) for one in found], float).T
        x = np.array([point.x for point in points])
        series.append(_series(name, x, median, low, high, look[name]))
    values = np.minimum(np.concatenate([one.y for one in series]), panel.ceiling)
    title = f"Final {split} loss over {panel.axis}: {panel.title}"
    sizes, most = all(float(tick) > 0 for tick in panel.ticks), _cap(panel.ceiling)
    return Chart(title, panel.axis, f"{split} loss", series, sizes, _wide(values), y_max=most, note=_BAND)


def _cap(ceiling: float) -> float | None:
    return ceiling if math.isfinite(ceiling) else None


def _series(name: str, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray, look: style.Line) -> Series:
    return Series(name, x, y, look.color, low, high, dashed=look.linestyle != "-")


def _wide(values: np.ndarray) -> bool:
    """Whether a logarithmic axis serves: positive, and more than a factor of ten."""
    shown = values[np.isfinite(values)]
    return bool(shown.size and shown.min() > 0 and shown.max() > 10 * shown.min())


def _over_steps(record: Record, cells: Cells, place: Place, look: Mapping[str, style.Line]) -> Chart:
    found = {name: list(curves(record, rows).values()) for name, rows in cells[place].items()}
    series = [
        _band(name, steps_of(record, place), np.concatenate(own), look[name]) for name, own in found.items() if own
    ]
    most = ceiling(row for rows in cells[place].values() for row in rows)
    return _curves_chart("Training loss", "train loss (running median)", title_of(record, cells, place), series, most)


def _tests(record: Record, cells: Cells, place: Place, look: Mapping[str, style.Line]) -> Chart:
    series = []
    for name, rows in cells[place].items():
        keys = _keys(record, rows)
        if keys:
            steps, values = record.curves[f"{keys[0]}/test_steps"], [record.curves[f"{key}/test"] for key in keys]
            series.append(_band(name, steps, np.concatenate(values), look[name]))
    most = ceiling(row for rows in cells[place].values() for row in rows)
    return _curves_chart("Test loss", "test loss", title_of(record, cells, place), series, most)


def _keys(record: Record, rows: Iterable[Loss]) -> list[str]:
    return [key for key in dict.fromkeys(row.key for row in rows) if f"{key}/test" in record.curves]


def _band(name: str, steps: np.ndarray, values: np.ndarray, look: style.Line) -> Series:
    """Median and quartiles over all seeds."""
    low, median, high = quartiles(np.where(np.isfinite(values), values, np.inf))
    return _series(name, steps, median, low, high, look)


def _curves_chart(what: str, y_label: str, place: str, series: list[Series], most: float) -> Chart:
    values = np.concatenate([np.asarray(one.y, float) for one in series]) if series else np.array([])
    wide, title = _wide(np.minimum(values, most)), f"{what} over inner steps: {place}"
    return Chart(title, "inner step", y_label, series, log_y=wide, y_max=_cap(most), note=_BAND)


def _grids(record: Record, cells: Cells) -> Iterable[Grid]:
    yield grids.jobs_not_finished(record)
    yield grids.movements(record)
    if cells:
        what = "at the end: median (quartiles), and how many of how many exploded"
        yield grids.losses(record, cells, "train_loss", f"Training loss {what}")
        yield grids.losses(record, cells, "test_loss", f"Test loss {what}")
        found, than = rankings(record, cells), reference(record, cells)
        if found:
            yield grids.rankings(found)
        if than is not None:
            yield grids.speedups(record, speedups(record, cells, than), than)
    yield grids.preparations(record)


def _table(grid: Grid) -> Table:
    return Table(grid.header, grid.rows, grid.title, grid.best)
