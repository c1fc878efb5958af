"""`results/latest.json`: a list of rows, each naming its benchmark; a benchmark that runs again replaces its own."""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FOLDER = Path(__file__).parent / "results"
PATH = FOLDER / "latest.json"
COLUMNS = (
    "benchmark",
    "architecture",
    "form",
    "hidden",
    "width",
    "parameters",
    "ms_median",
    "parameters_per_s",
    "ratio_to_straightforward",
    "ratio_to_adam",
    "scratch_bytes_per_parameter",
    "roofline_fraction",
)
"""In every row, null where they mean nothing; rows may have more."""


def read() -> list[Row]:
    """All rows."""
    return json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else []


def put(benchmark: str, rows: list[Row]) -> None:
    """Replaces a benchmark's rows."""
    own = [dict.fromkeys(COLUMNS) | {"benchmark": benchmark} | row | {"commit": commit()} for row in rows]
    kept = [row for row in read() if row["benchmark"] != benchmark]
    FOLDER.mkdir(exist_ok=True)
    # One row per line: readable in a diff.
    lines = ",\n ".join(json.dumps(_rounded(row)) for row in kept + own)
    PATH.write_text(f"[{lines}]\n", encoding="utf-8")


def _rounded(row: Row) -> Row:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}


def commit() -> str | None:
    """The state of the code, `+` for one with changes; None outside a repository."""
    described = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    done = subprocess.run(described, cwd=FOLDER.parent, capture_output=True, encoding="utf-8", check=False)
    return done.stdout.strip() or None


def hardware() -> Row:
    """What the numbers depend on."""
    import jax

    return {
        "jax": jax.__version__,
        "backend": jax.default_backend(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
