"""metrics.jsonl, the record of a job: one strict JSON object per line."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulo.errors import MuloError
from mulo.files import replacing

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class MetricsLog:
    """Rows of metrics in a file, each on disk as soon as `append` returns.

    JSON has no nan and no inf: they become the strings "nan", "inf" and "-inf", which `read` turns back.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds one row of numbers, strings, scalar arrays, and lists and dictionaries of these."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))

    def keep_until(self, step: int) -> None:
        """Drops rows whose `outer_step` is greater than `step`, and a last line that was cut off.

        A resumed job calls this with its checkpoint's step: it is about to log the later rows again.
        """
        rows = read(self.path) if self.path.exists() else []
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(_line(row) for row in rows if row.get("outer_step", step) <= step)


def read(path: Path) -> list[dict[str, Any]]:
    """All rows in order, without a last line that was cut off; MuloError for any other damaged line."""
    # Not splitlines: it also splits at separators that JSON allows inside a string.
    lines = Path(path).read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_restored(json.loads(line)))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise MuloError(
                f"{path}, line {number} is not JSON ({error.msg}). A stopped process cuts off "
                "only a last line, so something else wrote to this file: remove the line to go on."
            ) from error
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(_plain(row), allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _restored(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_restored(inner) for inner in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
