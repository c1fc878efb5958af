"""The README of a record."""

from collections.abc import Iterable

from rich import table as rich_table
from rich.text import Text

from mulo.reporting.html import Table
from mulo.reporting.record import changes, grids, sentences, transfer
from mulo.reporting.record.comparisons import rankings, reference, speedups
from mulo.reporting.record.contents import Record
from mulo.reporting.record.verdicts import verdicts

CLAIMS_EXPLAINED = (
    "A claim holds, or does not, where the 95% interval of the difference excludes 0. A training that diverged, or "
    "ended above the loss before its first step, counts as that loss, however far above it ended. "
    "Seeds are meta-seeds × evaluation seeds."
)

LOSSES_EXPLAINED = (
    "Median over all trainings (meta-seeds × evaluation seeds), in brackets the quartiles. A training has exploded "
    "where its loss is not finite, or above the loss before its first step: it counts with its final loss, and as the "
    "largest where that is not finite."
)

RANKS_EXPLAINED = (
    "Lower is better; 95% intervals by resampling meta-seeds and seeds. A diverged or failed seed ranks last."
)
SPEEDUP_EXPLAINED = (
    "At the largest width: the steps of {than} over those after which the smoothed mean training loss is as low as "
    "{than}'s at the end."
)


def title(record: Record, name: str) -> str:
    """The record's heading."""
    return f"{record.sweep.name or name}, scale {record.scale}" if record.scale else record.sweep.name or name


def readme(record: Record, name: str, notes: str | None) -> str:
    """The whole text, from the record and the hand-written notes alone."""
    parts = [
        f"# {title(record, name)}",
        *_head(record),
        *_jobs(record),
        *_claims(record),
        "![The figure of this record](figure.png)",
        "With interactive curves: [index.html](index.html). Data: [results.csv](results.csv), "
        "[record.json](record.json)" + (", `curves.npz`." if record.curves else "."),
        *_results(record),
        *_made(record),
        *([f"## Notes\n\n{notes.strip()}"] if notes and notes.strip() else []),
    ]
    return "\n\n".join(parts) + "\n"


def _head(record: Record) -> Iterable[str]:
    head = record.sweep
    if head.question:
        yield f"**Asked.** {head.question}"
    if head.paper:
        yield f"**The paper.** {head.paper}"
    if head.command:
        scale = f" scale={record.scale}" if record.scale and "scale=" not in head.command else ""
        yield f"**Command.** `{head.command}{scale}`"


def _jobs(record: Record) -> Iterable[str]:
    missing = grids.jobs_not_finished(record)
    if missing.rows:
        count = f"{len(missing.rows)} of {len(record.jobs)} jobs did not finish"
        yield f"**Incomplete:** {count}. Their results may change the conclusions."
        yield markdown(missing)


def _claims(record: Record) -> Iterable[str]:
    for module in (changes, transfer):
        if verdict := module.sentences(record):
            yield f"## Verdict\n\n{module.EXPLAINED}"
            yield "\n".join(f"- {sentence}" for sentence in verdict)
    if judged := verdicts(record):
        lines = [f"- **{v.outcome}**: {v.claim.text} ({v.claim.loss}). {_capital(v.because)}" for v in judged]
        yield f"## Claims\n\n{CLAIMS_EXPLAINED}"
        yield "\n".join(lines)


def _capital(text: str) -> str:
    """The first letter in upper case, unless it begins a name such as µLO_M."""
    return text[0].upper() + text[1:] if text.startswith(("the ", "there ")) else text


def _results(record: Record) -> Iterable[str]:
    if len(record.changes):
        yield f"## Results\n\n{sentences.seeds(record)}; slopes are those of changes averaged over them."
        yield markdown(grids.changes(record))
    if record.results.empty:
        return
    settings = "; ".join(filter(None, [sentences.in_common(record), sentences.seeds(record)]))
    yield f"## Results\n\n{settings}."
    bold = " The lowest median of those without an exploded training is bold." if len(record.names) > 1 else ""
    yield LOSSES_EXPLAINED + bold
    for table, explained in tables(record):
        yield "\n\n".join(filter(None, [f"### {table.title.partition(':')[0]}", explained, markdown(table)]))


def tables(record: Record) -> Iterable[tuple[Table, str]]:
    """Those of the results, each with its explanation."""
    if transfer.transfers(record):
        yield transfer.table(record), ""
    for split, words in (("train", "Training loss"), ("test", "Test loss")):
        title = f"{words} at the end: median (quartiles), and how many of how many exploded"
        yield grids.losses(record, split, title), ""
    if ranked := rankings(record):
        left_out = (
            f" {ranked[0].left_out} conditions that some method lacks are left out." if ranked[0].left_out else ""
        )
        yield grids.rankings(ranked), RANKS_EXPLAINED + left_out
    than = reference(record)
    if than is not None and (faster := speedups(record, than)):
        yield grids.speedups(record, faster, than), SPEEDUP_EXPLAINED.format(than=than)


def _made(record: Record) -> Iterable[str]:
    yield f"## Cost\n\n{sentences.cost(record)}"
    yield markdown(grids.preparations(record))
    yield f"## Where and when\n\n{sentences.origin(record)}"
    if (under := grids.thetas(record)).rows:
        yield markdown(under)


def markdown(table: Table) -> str:
    """In Markdown, with the best cells bold."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rows = [[f"**{c}**" if (i, j) in table.best else c for j, c in enumerate(row)] for i, row in enumerate(table.rows)]
    return "\n".join([line(table.header), line(["---"] * len(table.header)), *map(line, rows)])


def terminal(table: Table) -> rich_table.Table:
    """For a terminal."""
    shown = rich_table.Table(*table.header, title=table.title, title_justify="left")
    for i, row in enumerate(table.rows):
        shown.add_row(*(Text(str(c), style="bold" if (i, j) in table.best else "") for j, c in enumerate(row)))
    return shown
