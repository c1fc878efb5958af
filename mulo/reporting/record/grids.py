"""The tables of a record, as cells of text: the README and the page show the same ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mulo.evaluation.coordinate_rows import Verdict
from mulo.evaluation.coordinate_rows import verdicts as judged
from mulo.evaluation.statistics import Interval, Spread
from mulo.reporting.labels import label, label_of_family
from mulo.reporting.record.cells import Cells, Place, contestants, differing, spread_of
from mulo.reporting.record.comparisons import Ranking
from mulo.reporting.record.contents import Job, Loss, Record
from mulo.reporting.record.movements import Checked, by_contestant, slope_errors
from mulo.reporting.units import of_seconds


class Grid(NamedTuple):
    """A table; `best` are (row, column) of cells to stand out."""

    title: str
    header: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]] = frozenset()


def losses(record: Record, cells: Cells, split: str, title: str) -> Grid:
    """Median and quartiles by place and contestant; the best of those without an exploded training stands out."""
    names = list(contestants(record).values())
    columns = differing(cells, record)
    rows, best = [], set()
    for i, own in enumerate(cells.values()):
        spreads = {name: spread_of(own[name], split) for name in names if name in own}
        whole = {name: one.median for name, one in spreads.items() if one.seeds and not one.exploded}
        texts = [loss_text(own[name], spreads[name]) if name in own else "–" for name in names]
        rows.append([*(values[i] for _, values in columns), *texts])
        best |= {(i, len(columns) + names.index(n)) for n, median in whole.items() if median == min(whole.values())}
    header = [*(name for name, _ in columns), *names]
    return Grid(title, header, rows, frozenset(best) if len(names) > 1 else frozenset())


def loss_text(rows: Sequence[Loss], found: Spread) -> str:
    """A cell: median, quartiles, and what exploded or failed."""
    parts = [] if math.isnan(found.median) else [measure(found)]
    if found.exploded:
        parts.append(f"{found.exploded}/{found.seeds} exploded")
    failed = sum(row.result.failed for row in rows)
    return ", ".join([*parts, f"{failed} failed"] if failed else parts)


def measure(found: Spread) -> str:
    """Such as 0.412 (0.409 … 0.415); without the quartiles where there are none."""
    median, low, high = (_written(number) for number in (found.median, found.low, found.high))
    return median if math.isnan(found.low) else f"{median} ({low} … {high})"


def _written(loss: float) -> str:
    if math.isinf(loss):
        return "∞"
    return f"{loss:.3f}" if 0.01 <= abs(loss) < 1000 else f"{loss:.2e}"


def _places(count: int) -> str:
    return "1 place" if count == 1 else f"{count} places"


def rankings(found: Sequence[Ranking]) -> Grid:
    """A row per contestant, a column per ranking; the lowest of each stands out."""
    header = ["contestant", *(f"{one.title} ({_places(one.places)})" for one in found)]
    rows = [[name, *(_rank(one.ranks[name]) for one in found)] for name in found[0].ranks]
    lowest = [min(rank.value for rank in one.ranks.values()) for one in found]
    best = {
        (i, 1 + j)
        for i, name in enumerate(found[0].ranks)
        for j, one in enumerate(found)
        if one.ranks[name].value == lowest[j]
    }
    return Grid("Mean rank by training loss", header, rows, frozenset(best))


def _rank(rank: Interval) -> str:
    known = math.isfinite(rank.low)
    return f"{rank.value:.2f} ({rank.low:.2f} … {rank.high:.2f})" if known else f"{rank.value:.2f}"


def speedups(record: Record, found: dict[Place, dict[str, float | None]], than: str) -> Grid:
    """A row per place, a column per contestant."""
    names = list(dict.fromkeys(name for own in found.values() for name in own))
    columns = differing(found, record)
    rows = [
        [*(values[i] for _, values in columns), *(_speedup(own[name]) if name in own else "–" for name in names)]
        for i, own in enumerate(found.values())
    ]
    return Grid(f"Speedup over {than}", [*(name for name, _ in columns), *names], rows)


def _speedup(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f} ×"


def preparations(record: Record) -> Grid:
    """What each contestant cost before its evaluation; meta-trainings that jobs share are counted once."""
    rows = []
    for name in dict.fromkeys(job.contestant for job in record.jobs):
        own = {job.preparation.shared or job.name: job for job in record.jobs if job.contestant == name}
        seconds = [job.preparation.seconds for job in own.values() if job.preparation.seconds is not None]
        kinds = ", ".join(dict.fromkeys(_kind(job) for job in own.values()))
        mean = of_seconds(sum(seconds) / len(seconds)) if seconds else "–"
        total = of_seconds(sum(seconds)) if seconds else "–"
        rows.append([name, kinds, str(len(own)), mean, total])
    return Grid("Preparation", ["contestant", "kind", "times", "each", "together"], rows)


def _kind(job: Job) -> str:
    own = job.preparation
    if own.kind == "meta-training" and own.outer_steps is not None:
        return f"meta-training, {own.outer_steps} outer steps"
    return f"tuning, {own.settings} settings" if own.kind == "tuning" and own.settings is not None else own.kind


def jobs_not_finished(record: Record) -> Grid:
    """Jobs without a complete result, and why."""
    missing = [job for job in record.jobs if job.status != "finished"]
    rows = [[job.contestant, _settings(job), str(job.seed), job.status, job.reason or ""] for job in missing]
    return Grid("Jobs that did not finish", ["contestant", "settings", "meta-seed", "status", "reason"], rows)


def _settings(job: Job) -> str:
    return ", ".join(f"{key}={value}" for key, value in job.settings.items()) or "–"


def movements(record: Record) -> Grid:
    """Of a coordinate check: how many movements each contestant holds still, the largest slope, and the spread."""
    rows = []
    for checked, own in by_contestant(record).items():
        for scheme in dict.fromkeys(row["parametrization"] for row in own):
            found = judged([row for row in own if row["parametrization"] == scheme], record.tolerance)
            who = [checked.contestant, label(scheme), label_of_family(checked.task), *checked.settings]
            rows.append([*who, *_counts(found), _error(record, checked, scheme)])
    head = ["contestant", "parametrization", "task", *record.varied]
    outcomes = [f"within ±{record.tolerance:g}", "outside", "still", "undefined"]
    spread = "largest standard error over meta-seeds"
    return Grid("Slopes of movements", [*head, *outcomes, "steepest", spread], rows)


def _error(record: Record, checked: Checked, scheme: str) -> str:
    found = slope_errors(record, checked, scheme)
    return f"{max(found):.3f}" if found else "–"


def _counts(found: Sequence[Verdict]) -> list[str]:
    counts = [sum(one.outcome == kind for one in found) for kind in ("stable", "unstable", "still", "undefined")]
    slopes = [one.slope for one in found if math.isfinite(one.slope)]
    return [*map(str, counts), f"{max(slopes, key=abs):+.3f}".replace("-", "−") if slopes else "–"]
