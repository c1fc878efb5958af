"""What all records share: where a result comes from, and tables in Markdown."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mulo import provenance as origin
from mulo.evaluation import coordinate_rows
from mulo.evaluation.results import RESULTS, trainings

Row = dict[str, Any]
"""Of a coordinate check (`coordinate_rows.CHANGES`)."""


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


def read_rows(path: Path) -> list[Row]:
    """The rows of a coordinate check."""
    return coordinate_rows.CHANGES.read(path).to_dict("records")


def verdicts(rows: Iterable[Row], tolerance: float) -> list[Any]:
    """What becomes of each change, as `coordinate_rows.verdicts` says."""
    return list(coordinate_rows.verdicts(pd.DataFrame(rows), tolerance).itertuples(index=False))


def summaries(path: Path) -> list[Any]:
    """Mean and standard error of each run of a results.csv, over the seeds that did not diverge."""
    found = trainings(RESULTS.read(path)).replace(np.inf, np.nan)
    runs = found[~found.failed].groupby(
        ["method", "parametrization", "task", "width", "depth", "num_steps"], sort=False
    )
    columns = {"train_loss": ("train", "mean"), "train_error": ("train", "sem"), "seeds": ("seed", "size")}
    columns |= {"test_loss": ("test", "mean"), "test_error": ("test", "sem"), "kept": ("test", "count")}
    return list(runs.agg(**columns).assign(diverged=lambda run: run.seeds - run.kept).reset_index().itertuples())


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
