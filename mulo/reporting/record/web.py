"""The page of a record: claims, final losses and curves as charts, and the tables of its README."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from mulo.evaluation.statistics import quartiles
from mulo.reporting import style
from mulo.reporting.html import Chart, Page, Series, Table
from mulo.reporting.record import changes, grids, sentences, transfer
from mulo.reporting.record.comparisons import largest
from mulo.reporting.record.contents import Record
from mulo.reporting.record.figures import looks
from mulo.reporting.record.panels import Panel, ceiling, panels
from mulo.reporting.record.panels import title as title_of
from mulo.reporting.record.text import tables
from mulo.reporting.record.trainings import curves_under
from mulo.reporting.record.verdicts import verdicts

_BAND = (
    "Medians over all trainings; bands reach from quartile to quartile. A training that diverged counts as infinite."
)


def contents(record: Record, title: str) -> Page:
    """What the page shows."""
    return Page(
        title=title,
        summary=list(_summary(record)),
        charts=list(_charts(record)) if len(record.results) else [],
        tables=[table for table in _tables(record) if table.rows],
        footer=f"{sentences.cost(record)} {sentences.origin(record)}",
    )


def _summary(record: Record) -> Iterable[str]:
    head = record.sweep
    yield from (text for text in (head.question, f"The paper: {head.paper}" if head.paper else "") if text)
    missing = len(grids.jobs_not_finished(record).rows)
    if missing:
        yield f"Incomplete: {missing} of {len(record.jobs)} jobs did not finish."
    for sentence in [*changes.sentences(record), *transfer.sentences(record)]:
        yield sentence.replace("**", "")
    for verdict in verdicts(record):
        yield f"{verdict.outcome.capitalize()}: {verdict.claim.text}. {verdict.because}"


def _charts(record: Record) -> Iterable[Chart]:
    look, transfers = looks(record), transfer.transfers(record)
    yield from (_transfer(record, panel) for panel in transfers)
    for panel in panels(record) if not transfers else ():
        if panel.numeric:
            for split in ("train", "test"):
                yield _final(panel, split, look)
    for condition in largest(record) if not transfers else ():
        over_steps = [_over_steps(record, condition, look, kind) for kind in ("", "/test")]
        yield from (chart for chart in over_steps if chart.series)


def _final(panel: Panel, split: str, look: Mapping[str, style.Line]) -> Chart:
    series = [
        _series(
            name, line.x.to_numpy(), line["median"].to_numpy(), line.low.to_numpy(), line.high.to_numpy(), look[name]
        )
        for name, line in panel.points[split].groupby("name", sort=False)
    ]
    values = np.minimum(np.concatenate([line.y for line in series]), panel.ceiling)
    title = f"Final {split} loss over {panel.axis}: {panel.title}"
    sizes, most = all(float(tick) > 0 for tick in panel.ticks), _cap(panel.ceiling)
    return Chart(title, panel.axis, f"{split} loss", series, sizes, _wide(values), y_max=most, note=_BAND)


def _transfer(record: Record, panel: transfer.Transfer) -> Chart:
    colors, name, points = transfer.colors(record), transfer.setting(record), panel.points.items()
    series = [Series(f"width {w}", of.value, of["median"], colors[w], of.low, of.high) for w, of in points]
    wide = _wide(np.minimum(np.concatenate([rows["median"] for _, rows in points]), panel.ceiling))
    title = f"Final train loss over {name}: {panel.method}, {panel.task}"
    return Chart(title, name, "train loss", series, True, wide, y_max=_cap(panel.ceiling), note=_BAND)


def _cap(ceiling: float) -> float | None:
    return ceiling if math.isfinite(ceiling) else None


def _series(name: str, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray, look: style.Line) -> Series:
    return Series(name, x, y, look.color, low, high, dashed=look.linestyle != "-")


def _wide(values: np.ndarray) -> bool:
    """Whether losses are positive and span more than a factor of ten, as suits a logarithmic axis."""
    shown = values[np.isfinite(values)]
    return bool(shown.size and shown.min() > 0 and shown.max() > 10 * shown.min())


def _over_steps(record: Record, condition: int, look: Mapping[str, style.Line], kind: str) -> Chart:
    steps, curves = curves_under(record, condition, kind)
    series = [_band(name, steps, values, look[name]) for name, values in curves.items()]
    most = ceiling(record.trainings[record.trainings.condition == condition])
    values = np.concatenate([np.asarray(line.y, float) for line in series]) if series else np.array([])
    what, y_label = ("Test loss", "test loss") if kind else ("Training loss", "train loss (running median)")
    title, wide = f"{what} over inner steps: {title_of(record, condition)}", _wide(np.minimum(values, most))
    return Chart(title, "inner step", y_label, series, log_y=wide, y_max=_cap(most), note=_BAND)


def _band(name: str, steps: np.ndarray, values: np.ndarray, look: style.Line) -> Series:
    """Median and quartiles over all seeds."""
    low, median, high = quartiles(np.where(np.isfinite(values), values, np.inf))
    return _series(name, steps, median, low, high, look)


def _tables(record: Record) -> Iterable[Table]:
    yield grids.jobs_not_finished(record)
    yield grids.changes(record)
    if len(record.results):
        yield from (table for table, _ in tables(record))
    yield grids.preparations(record)
    yield grids.thetas(record)
