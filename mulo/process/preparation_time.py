"""How long a preparation took: seconds of meta-training or tuning, added up over restarts."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulo.files import replacing

FILE, _FORMER_FILE = "preparation_time.json", "spent.json"


def read(folder: Path) -> float:
    """Seconds in this folder so far; the last ones of a killed process are missing."""
    path = next((path for name in (FILE, _FORMER_FILE) if (path := folder / name).exists()), None)
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path else 0.0


@contextmanager
def measured(folder: Path) -> Iterator[None]:
    """Adds the seconds that its block takes to those of the folder, an error inside or not."""
    began, before = time.monotonic(), read(folder)
    try:
        yield
    finally:
        seconds = round(before + time.monotonic() - began, 1)
        with replacing(folder / FILE) as partial:
            partial.write_text(json.dumps({"seconds": seconds}) + "\n", encoding="utf-8")
