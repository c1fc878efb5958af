"""Results as a table on the terminal."""

import math
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mulo.evaluation.results import Summary, by_optimizer
from mulo.reporting.labels import contestant

_WIDE = 200


def results_table(summaries: Sequence[Summary]) -> Table:
    """Mean test loss ± standard error, a row per width, a column per optimizer, the row's best in bold.

    A mean over the seeds that survived is never called the best. Raises MuloError where two summaries compete
    for one cell.
    """
    table, contestants = Table(), by_optimizer(summaries)
    table.add_column("width", justify="right")
    for optimizer, parametrization in contestants:
        table.add_column(contestant(optimizer, parametrization), justify="right")
    for width in sorted({summary.width for summary in summaries}):
        best = _best(summaries, width)
        cells = [_cell(found[width], best) if width in found else Text("–") for found in contestants.values()]
        table.add_row(str(width), *cells)
    return table


def wide_console() -> Console:
    """For tables: a log file has no width of its own, and rows broken at 80 characters are hard to read in it."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)


def print_results(summaries: Sequence[Summary], console: Console | None = None) -> None:
    """Prints one table for each task, depth and number of steps, to stdout unless told otherwise."""
    console = console or wide_console()
    groups: dict[tuple[str, int, int], list[Summary]] = {}
    for summary in summaries:
        groups.setdefault((summary.task, summary.depth, summary.steps), []).append(summary)
    for members in groups.values():
        console.print(_title(members), soft_wrap=True)
        console.print(results_table(members))


def _title(summaries: Sequence[Summary]) -> str:
    first = summaries[0]
    return f"Test loss ± standard error on {first.task}, depth {first.depth}, after {first.steps} steps"


def _best(summaries: Sequence[Summary], width: int) -> float:
    whole = [summary.test_loss for summary in summaries if summary.width == width and not summary.diverged]
    return min(whole, default=math.nan)


def _cell(summary: Summary, best: float) -> Text:
    lines = [] if math.isnan(summary.test_loss) else [_measure(summary.test_loss, summary.test_error)]
    if summary.diverged:
        lines += [f"diverged {summary.diverged}/{summary.seeds}"]
    is_best = summary.test_loss == best and not summary.diverged
    return Text("\n".join(lines), style="bold" if is_best else "")


def _measure(mean: float, error: float) -> str:
    pattern = "{:.3f}" if 0.01 <= abs(mean) < 1000 else "{:.2e}"
    return pattern.format(mean) if math.isnan(error) else f"{pattern.format(mean)} ± {pattern.format(error)}"
