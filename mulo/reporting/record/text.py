"""The README of a record."""

from collections.abc import Iterable

from mulo.reporting.record import grids, sentences
from mulo.reporting.record.cells import Cells, contestants
from mulo.reporting.record.comparisons import Ranking, rankings, reference, speedups
from mulo.reporting.record.contents import Record
from mulo.reporting.record.grids import Grid
from mulo.reporting.record.movements import said
from mulo.reporting.record.verdicts import verdicts

CLAIMS_EXPLAINED = (
    "A claim holds, or does not, where the 95% interval of the difference leaves out 0. A training that diverged, or "
    "ended above the loss it began with, has learned nothing and counts as that loss, however far above it ended. "
    "Seeds are meta-seeds × evaluation seeds."
)

LOSSES_EXPLAINED = (
    "Median over all trainings (meta-seeds × evaluation seeds), in brackets the quartiles. A training has exploded "
    "where its loss is not finite, or above the loss before its first step: it takes part with the loss that it ended "
    "with, and as the largest where that is not finite."
)


def title(record: Record, name: str) -> str:
    """The record's heading."""
    return f"{record.sweep.name or name}, scale {record.scale}" if record.scale else record.sweep.name or name


def readme(record: Record, cells: Cells, name: str, notes: str | None) -> str:
    """The whole text, from the record and the hand-written notes alone."""
    parts = [
        f"# {title(record, name)}",
        *_head(record),
        *_jobs(record),
        *_claims(record),
        "![The figure of this record](figure.png)",
        "The same with curves that answer: [index.html](index.html). Data: [results.csv](results.csv), "
        "[record.json](record.json)" + (", `curves.npz`." if record.curves else "."),
        *_results(record, cells),
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
        few = f"**Incomplete:** {len(missing.rows)} of {len(record.jobs)} jobs did not finish."
        yield few + " What is missing may change what is said here."
        yield markdown(missing)


def _claims(record: Record) -> Iterable[str]:
    if record.movements:
        promised = (
            "µP promises that movements do not depend on the width, CompleteP that they do not on the depth either."
        )
        yield f"## Verdict\n\n{promised}"
        yield "\n".join(f"- {sentence}" for sentence in said(record))
    found = verdicts(record)
    if found:
        lines = [f"- **{one.outcome}**: {one.claim.text} ({one.claim.loss}). {_capital(one.because)}" for one in found]
        yield f"## Claims\n\n{CLAIMS_EXPLAINED}"
        yield "\n".join(lines)


def _capital(text: str) -> str:
    """The first letter in upper case, unless it begins a name such as µLO_M."""
    return text[0].upper() + text[1:] if text.startswith(("the ", "there ")) else text


def _results(record: Record, cells: Cells) -> Iterable[str]:
    if record.movements:
        yield f"## Results\n\n{sentences.seeds(record)}; slopes are those of movements averaged over them."
        yield markdown(grids.movements(record))
    if not cells:
        return
    yield f"## Results\n\n{sentences.in_common(record, cells)}; {sentences.seeds(record)}."
    bold = " The lowest median of those without an exploded training is bold." if len(contestants(record)) > 1 else ""
    yield LOSSES_EXPLAINED + bold
    for split, words in (("train_loss", "Training loss"), ("test_loss", "Test loss")):
        yield f"### {words} at the end\n\n{markdown(grids.losses(record, cells, split, words))}"
    yield from _statistics(record, cells)


def _statistics(record: Record, cells: Cells) -> Iterable[str]:
    found = rankings(record, cells)
    if found:
        yield f"### Mean rank by training loss\n\n{ranks_explained(found)}\n\n{markdown(grids.rankings(found))}"
    than = reference(record, cells)
    faster = speedups(record, cells, than) if than is not None else {}
    if than is not None and faster:
        grid = grids.speedups(record, faster, than)
        yield f"### {grid.title}\n\n{speedup_explained(than)}\n\n{markdown(grid)}"


def ranks_explained(found: list[Ranking]) -> str:
    """What the ranks mean, and what they leave out."""
    text = "Lower is better; 95% intervals by resampling meta-seeds and seeds. A diverged or failed seed ranks last."
    left_out = found[0].left_out
    return f"{text} {left_out} places that some contestant lacks are left out." if left_out else text


def speedup_explained(than: str) -> str:
    """What the speedups mean."""
    return (
        f"At the largest width: the steps of {than} over those after which the smoothed mean training loss is as low "
        f"as {than}'s at the end."
    )


def _made(record: Record) -> Iterable[str]:
    prepared = grids.preparations(record)
    yield f"## Cost\n\n{sentences.cost(record)}"
    yield markdown(prepared)
    yield f"## Where and when\n\n{sentences.origin(record)}"


def markdown(grid: Grid) -> str:
    """A Markdown table with the best cells bold."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rows = [[f"**{t}**" if (i, j) in grid.best else t for j, t in enumerate(row)] for i, row in enumerate(grid.rows)]
    return "\n".join([line(grid.header), line(["---"] * len(grid.header)), *map(line, rows)])
