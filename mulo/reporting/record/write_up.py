"""README.md, index.html and the figure of a record, from its stored data and the hand-written notes alone."""

from pathlib import Path

from mulo.files import replacing
from mulo.reporting.html import page
from mulo.reporting.record import figures, text, web
from mulo.reporting.record.cells import by_place
from mulo.reporting.record.store import read


def write_up(folder: Path) -> None:
    """Writes them; the same data give the same README and page, byte for byte.

    Raises:
        MuloError: the folder is not a complete record.
    """
    name = folder.resolve().name
    record = read(folder)
    cells, title = by_place(record), text.title(record, name)
    notes = folder / "notes.md"
    kept = notes.read_text("utf-8") if notes.exists() else None
    figures.figure(record, cells, folder / "figure", title)
    _write(folder / "README.md", text.readme(record, cells, name, kept))
    _write(folder / "index.html", page(web.contents(record, cells, title)))


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, "utf-8")
