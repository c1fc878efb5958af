"""The tables of a record, as cells of text: the README and the page show the same ones."""

import math
from collections.abc import Sequence
from typing import Any

from mulo.evaluation.statistics import Interval
from mulo.reporting.html import Table
from mulo.reporting.labels import label
from mulo.reporting.record.changes import checks
from mulo.reporting.record.comparisons import Ranking
from mulo.reporting.record.contents import Job, Record
from mulo.reporting.record.sentences import counted
from mulo.reporting.record.trainings import differing, spreads
from mulo.reporting.units import of_seconds


def losses(record: Record, split: str, title: str) -> Table:
    """Median and quartiles by condition and method; the best of those without an exploded training is bold."""
    names, conditions = list(record.names.values()), differing(record.conditions)
    rows, best = [], set()
    for i, group in spreads(record, split).groupby("condition"):
        by_name = {row.name: row for row in group.itertuples()}
        rows.append([*conditions.loc[i], *(loss_text(by_name[name]) if name in by_name else "–" for name in names)])
        whole = {name: row.median for name, row in by_name.items() if row.seeds and not row.exploded}
        best |= {(i, len(conditions.columns) + names.index(n)) for n in whole if whole[n] == min(whole.values())}
    return Table([*conditions, *names], rows, title, frozenset(best) if len(names) > 1 else frozenset())


def loss_text(spread: Any) -> str:
    """A cell of the table, from a row of `spreads`: median, quartiles, and how many exploded or failed."""
    median, low, high = (_written(number) for number in (spread.median, spread.low, spread.high))
    parts = [median if math.isnan(spread.low) else f"{median} ({low} … {high})"] if spread.seeds else []
    parts += [f"{spread.exploded}/{spread.seeds} exploded"] if spread.exploded else []
    return ", ".join([*parts, f"{spread.failed} failed"] if spread.failed else parts)


def _written(loss: float) -> str:
    if math.isinf(loss):
        return "∞"
    return f"{loss:.3f}" if 0.01 <= abs(loss) < 1000 else f"{loss:.2e}"


def rankings(ranked: Sequence[Ranking]) -> Table:
    """A row per method, a column per ranking; the lowest of each is bold."""
    header = ["method", *(f"{by.title} ({counted(by.conditions, 'condition')})" for by in ranked)]
    rows = [[name, *(_rank(by.ranks[name]) for by in ranked)] for name in ranked[0].ranks]
    lowest = [min(rank.value for rank in by.ranks.values()) for by in ranked]
    best = {
        (i, 1 + j)
        for i, name in enumerate(ranked[0].ranks)
        for j, by in enumerate(ranked)
        if by.ranks[name].value == lowest[j]
    }
    return Table(header, rows, "Mean rank by training loss", frozenset(best))


def _rank(rank: Interval) -> str:
    known = math.isfinite(rank.low)
    return f"{rank.value:.2f} ({rank.low:.2f} … {rank.high:.2f})" if known else f"{rank.value:.2f}"


def speedups(record: Record, factors: dict[int, dict[str, float | None]], than: str) -> Table:
    """A row per condition, a column per method."""
    names = list(dict.fromkeys(name for by_name in factors.values() for name in by_name))
    conditions = differing(record.conditions.loc[list(factors)])
    rows = [
        [*conditions.loc[i], *(_speedup(by_name[name]) if name in by_name else "–" for name in names)]
        for i, by_name in factors.items()
    ]
    return Table([*conditions, *names], rows, f"Speedup over {than}")


def _speedup(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f} ×"


def preparations(record: Record) -> Table:
    """Preparation time of each method; meta-trainings that jobs share are counted once."""
    rows = []
    for name in dict.fromkeys(job.method for job in record.jobs):
        distinct = {job.preparation.shared or job.name: job for job in record.jobs if job.method == name}
        seconds = [job.preparation.seconds for job in distinct.values() if job.preparation.seconds is not None]
        kinds = ", ".join(dict.fromkeys(_kind(job) for job in distinct.values()))
        mean = of_seconds(sum(seconds) / len(seconds)) if seconds else "–"
        total = of_seconds(sum(seconds)) if seconds else "–"
        rows.append([label(name), kinds, str(len(distinct)), mean, total])
    return Table(["method", "kind", "times", "each", "together"], rows, "Preparation")


def _kind(job: Job) -> str:
    prepared, said = job.preparation, []
    if prepared.kind != "tuning":
        steps = "" if prepared.outer_steps is None else f", {prepared.outer_steps} outer steps"
        said.append(f"{prepared.kind}{steps}")
    if prepared.settings is not None:
        said.append(f"tuning, {prepared.settings} settings")
    return "; ".join(said or [prepared.kind])


def jobs_not_finished(record: Record) -> Table:
    """Jobs without a complete result, and why."""
    missing = [job for job in record.jobs if job.status != "finished"]
    rows = [[label(job.method), _settings(job), str(job.seed), job.status, job.reason or ""] for job in missing]
    return Table(["method", "settings", "meta-seed", "status", "reason"], rows, "Jobs that did not finish")


def _settings(job: Job) -> str:
    return ", ".join(f"{key}={value}" for key, value in job.settings.items()) or "–"


def thetas(record: Record) -> Table:
    """θ of each job, by the first digits of its SHA-256, and the commit that its results are from."""
    rows = [
        [label(job.method), _settings(job), str(job.seed), job.theta[:12], str(job.provenance.get("commit", "–"))]
        for job in record.jobs
        if job.theta is not None
    ]
    return Table(["method", "settings", "meta-seed", "θ (SHA-256)", "commit"], rows, "Under which θ")


def changes(record: Record) -> Table:
    """By coordinate check: how many changes do not depend on the size, the largest slope, and the spread."""
    outcomes, rows = ["stable", "unstable", "constant", "undefined"], []
    for check in checks(record):
        counts = check.verdicts.outcome.value_counts().reindex(outcomes, fill_value=0)
        slopes = check.verdicts.slope.dropna()
        steepest = f"{max(slopes, key=abs):+.3f}".replace("-", "−") if len(slopes) else "–"
        names = [label(check.method), label(check.parametrization), check.network, *check.settings]
        rows.append([*names, *map(str, counts), steepest, "–" if math.isnan(check.error) else f"{check.error:.3f}"])
    head = ["method", "parametrization", "task", *record.varied, f"within ±{record.tolerance:g}", "outside"]
    spread = "largest standard error over meta-seeds"
    return Table([*head, *outcomes[2:], "steepest", spread], rows, "Slopes of changes")
