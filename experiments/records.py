"""What all records share: where a result comes from, and tables in Markdown."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mulo import provenance as origin


def provenance(**more: Any) -> dict[str, Any]:
    """Commit, machine and versions that a result was measured with, and whatever else is given."""
    found = origin.provenance()
    return {
        "commit": found["commit"],
        "hardware": f"{found['processor']}, {os.cpu_count()} cores, no accelerator",
        "python": found["python"],
        "jax": found["jax"],
        **more,
    }


def write_provenance(folder: Path, found: dict[str, Any]) -> None:
    """Stores it beside the results."""
    (folder / "provenance.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_provenance(folder: Path) -> dict[str, Any]:
    """What `write_provenance` stored."""
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; floats with three digits after the point."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])


def measured_with(found: dict[str, Any]) -> str:
    """One paragraph on where the numbers come from."""
    return (
        f"Gathered at commit {found['commit']}, from runs of that day at it or earlier ones; {found['hardware']}; "
        f"Python {found['python']}, JAX {found['jax']}. {found['date']}."
    )
