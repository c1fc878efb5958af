"""Writes a record's README, page and figure from its data and the hand-written notes; a job's tables and pictures."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mulo.config import SweepConfig
from mulo.files import replacing
from mulo.reporting.html import page
from mulo.reporting.labels import label
from mulo.reporting.record import changes, figures, grids, sentences, text, transfer, web
from mulo.reporting.record.contents import Record
from mulo.reporting.record.store import read


def write_up(folder: Path, console: Console | None = None) -> None:
    """Writes README.md, index.html and the figure; the same data give the same README and page, byte for byte.

    The conclusions of a record with figure=transfer are printed, too.

    Raises:
        MuloError: the folder is not a complete record.
    """
    name = folder.resolve().name
    record = read(folder)
    title = text.title(record, name)
    notes = folder / "notes.md"
    written_notes = notes.read_text("utf-8") if notes.exists() else None
    figures.figure(record, folder / "figure", title)
    _write(folder / "README.md", text.readme(record, name, written_notes))
    _write(folder / "index.html", page(web.contents(record, title)))
    if console is not None and transfer.transfers(record):
        console.print(text.terminal(transfer.table(record)))
        _print(transfer.sentences(record), console)


def write_up_job(record: Record, folder: Path, console: Console) -> list[str]:
    """Prints the tables of a record with one job, writes its pictures into `folder`, and returns their names."""
    if len(record.changes):
        console.print(text.terminal(grids.changes(record)))
        _print(changes.sentences(record), console)
        first = record.changes.iloc[0]
        title = f"{label(first.method)}, task in {label(first.parametrization)}"
        figures.figure(record, folder / "coordinate_check", title)
        return ["coordinate_check"]
    record = replace(record, sweep=SweepConfig())  # whose picture is over width
    title = sentences.in_common(record)
    console.print(f"{title}; {sentences.seeds(record)}.", highlight=False, soft_wrap=True)
    for split in ("train", "test"):
        console.print(text.terminal(grids.losses(record, split, f"{split} loss at the end: median (quartiles)")))
    figures.final_losses(record, folder / "loss_over_width", title)
    figures.curves(record, folder / "curves", title)
    return ["loss_over_width", "curves"]


def _print(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(line.replace("**", ""), highlight=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, "utf-8")
