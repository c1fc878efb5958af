"""What a page holds: plain values, checked when they are made."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mulo.errors import MuloError

Numbers: TypeAlias = Sequence[float] | np.ndarray
"""One-dimensional."""
Cell: TypeAlias = str | int | float


@dataclass(frozen=True)
class Series:
    """One curve: y over x, [n] each. Where y is nan or infinite the curve has a gap, and it ends where nothing follows.

    Raises MuloError where lengths differ, x does not increase, or the colour is not written as #rrggbb.
    """

    label: str
    """Series of one label are shown and hidden together, in all charts of the page."""
    x: Numbers
    y: Numbers
    color: str
    """#rrggbb as on white; dark pages lighten what would be hard to see."""
    low: Numbers | None = None
    """Lower end of a band around the curve, [n], such as mean − standard error; given together with `high`."""
    high: Numbers | None = None
    dashed: bool = False

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise MuloError(f"The band of {self.label!r} has one end; expected low and high, or neither.")
        _check_lengths(self.label, {"x": self.x, "y": self.y, "low": self.low, "high": self.high})
        x = np.asarray(self.x, float)
        if not np.isfinite(x).all() or (np.diff(x) <= 0).any():
            raise MuloError(f"x of {self.label!r} must be finite and increase from each point to the next.")
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.color):
            raise MuloError(f"The colour of {self.label!r}, {self.color!r}, is invalid; expected #rrggbb.")


@dataclass(frozen=True)
class Chart:
    """Curves over a common axis. Raises MuloError where two have the same label.

    `log_x` and `log_y` say how the axes start; readers change them. On a logarithmic axis what is not positive is left
    out.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False
    y_max: float | None = None
    """The y axis never ends above it, so that a curve which explodes does not flatten the others."""
    note: str = ""
    """A sentence below the chart, such as what its bands are."""

    def __post_init__(self) -> None:
        twice = [label for label, count in Counter(series.label for series in self.series).items() if count > 1]
        if twice:
            raise MuloError(
                f"Two series of {self.title!r} are called {twice[0]!r}: a label names one curve of a chart."
            )


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; numbers are written with five significant digits, text as it is.

    Raises MuloError where a row has another length than the header, or `best` names a cell outside the table.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of cells in bold, counted from 0."""

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise MuloError(f"Row {i} of table {self.title!r} has {len(row)} cells, its header {len(self.header)}.")
        cells = {(i, j) for i in range(len(self.rows)) for j in range(len(self.header))}
        if outside := self.best - cells:
            raise MuloError(f"Table {self.title!r} has no cell {min(outside)}: (row, column) count from 0.")


@dataclass(frozen=True)
class Page:
    """One page, from top to bottom. All text is plain: nothing in it is read as markup."""

    title: str
    summary: Sequence[str] = ()
    """Paragraphs."""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    footer: str = ""


def _check_lengths(label: str, arrays: dict[str, Numbers | None]) -> None:
    lengths = {name: np.shape(values) for name, values in arrays.items() if values is not None}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in lengths.items())
        raise MuloError(f"The arrays of {label!r} have shapes {shapes}; expected vectors of one length.")
