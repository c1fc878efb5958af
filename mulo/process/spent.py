"""What a preparation cost: seconds of meta-training or tuning, added up over restarts."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulo.files import replacing

_FILE = "spent.json"


def seconds(folder: Path) -> float:
    """Spent in this folder so far; what a killed process spent last is missing."""
    path = folder / _FILE
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.exists() else 0.0


@contextmanager
def spending(folder: Path) -> Iterator[None]:
    """Adds the seconds that its block takes to those of the folder, an error inside or not."""
    began, before = time.monotonic(), seconds(folder)
    try:
        yield
    finally:
        with replacing(folder / _FILE) as partial:
            partial.write_text(
                json.dumps({"seconds": round(before + time.monotonic() - began, 1)}) + "\n", encoding="utf-8"
            )
