"""What a coordinate check found: rows with the slope over width or depth, the verdict on them, and their CSV file."""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np

from mulo.errors import MuloError
from mulo.files import replacing


class Row(TypedDict):
    """One movement at one size."""

    optimizer: str
    parametrization: str
    measure: str
    """One of `coordinate_check.MEASURES`."""
    layer: str
    t: int
    """Training steps done."""
    over: str
    """What grows from network to network: `width` or `depth`."""
    size: int
    """The network's width or depth."""
    std: float
    """Standard deviation over examples and units together, averaged over seeds."""
    slope: float
    """Of log std over log size by least squares, the same at all sizes; nan unless status is `moving`."""
    status: str
    """`moving`; `still`, std is exactly 0 at all sizes; `undefined`, at some size it is 0 or not finite."""


PROMISES = {"width": ("mup", "completep"), "depth": ("completep",)}
"""Which parametrizations hold movements still over what."""


class Verdict(NamedTuple):
    """One movement held against the slope of 0 that µP promises over width, and CompleteP over depth too."""

    optimizer: str
    parametrization: str
    measure: str
    layer: str
    t: int
    over: str
    slope: float
    outcome: str
    """`stable`, `unstable`, `still` or `undefined`: the first is a pass, `still` neither pass nor failure."""

    @property
    def failed(self) -> bool:
        """Whether the movement contradicts the promise or cannot be judged."""
        return self.outcome in ("unstable", "undefined")


def rows_with_slope(stds: Mapping[int, float], **movement: Any) -> list[Row]:
    """One row per size, with their common slope and status.

    Args:
        stds: standard deviation by size, at least two different ones.
        movement: the values of optimizer, parametrization, measure, layer, t and over.
    """
    values = np.array(list(stds.values()))
    status, slope = _status(values), math.nan
    if status == "moving":
        slope = float(np.polyfit(np.log(list(stds)), np.log(values), 1)[0])
    return [
        cast(Row, {**movement, "size": size, "std": std, "slope": slope, "status": status})
        for size, std in stds.items()
    ]


def _status(stds: np.ndarray) -> str:
    if not stds.any():
        return "still"
    return "moving" if np.all(np.isfinite(stds) & (stds > 0)) else "undefined"


def verdicts(rows: Iterable[Row], tolerance: float) -> list[Verdict]:
    """Judges every movement in `rows`: `stable` means |slope| ≤ tolerance."""
    found = {}
    for row in rows:
        movement = (row["optimizer"], row["parametrization"], row["measure"], row["layer"], row["t"], row["over"])
        stable = "stable" if abs(row["slope"]) <= tolerance else "unstable"
        outcome = stable if row["status"] == "moving" else row["status"]
        found[movement] = Verdict(*movement, row["slope"], outcome)
    return list(found.values())


_READERS: Mapping[str, Any] = Row.__annotations__


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Writes a CSV file; `read_rows` returns the same rows."""
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(_READERS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Reads what `write_rows` wrote; raises MuloError for other columns and for values of the wrong type."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != list(_READERS):
            raise MuloError(
                f"{path} is not a coordinate check: its columns are {', '.join(header) or 'missing'}, "
                f"and these are needed, in this order: {', '.join(_READERS)}."
            )
        return [_row(texts, f"{path}, line {reader.line_num}") for texts in reader]


def _row(texts: list[str], place: str) -> Row:
    try:
        pairs = zip(_READERS.items(), texts, strict=True)
        return cast(Row, {name: read(text) for (name, read), text in pairs})
    except ValueError as error:
        raise MuloError(f"{place}: {error}.") from error
