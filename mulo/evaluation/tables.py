"""Tables as CSV files: their columns with types, and the names that older files have for them. Without JAX."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mulo.errors import MuloError
from mulo.files import replacing

OLD_NAMES = {
    "contestant": "method",
    "optimizer": "method",
    "steps": "num_steps",
    "initial_loss": "initial",
    "train_loss": "train",
    "test_loss": "test",
    "moving": "changing",
    "still": "constant",
}
"""Today's names of columns, keys and values of older files."""


def renamed(old: pd.DataFrame) -> pd.DataFrame:
    """The columns under today's names; records of coordinate checks had a method twice."""
    if "contestant" in old:
        old = old.drop(columns="optimizer", errors="ignore")
    return old.rename(columns=OLD_NAMES)


@dataclass(frozen=True)
class Schema:
    """A kind of table, which may also have a column of text for every setting that varies."""

    what: str
    columns: Mapping[str, type]
    """What each holds: str, int or float."""
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All values that some columns may have."""
    converted: Callable[[pd.DataFrame], pd.DataFrame] = renamed
    """Converts texts of an older file to today's, and leaves today's unchanged."""

    def empty(self) -> pd.DataFrame:
        """A table without rows."""
        return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in self.columns.items()})

    def write(self, table: pd.DataFrame, path: Path) -> None:
        """Writes a CSV file; `read` returns the same values, floats bit for bit."""
        typed = table.astype({name: kind for name, kind in self.columns.items() if name in table})
        with replacing(path) as partial:
            typed.to_csv(partial, index=False, na_rep="nan", lineterminator="\n", encoding="utf-8")

    def read(self, path: Path, settings: Sequence[str] | None = ()) -> pd.DataFrame:
        """Reads what `write` wrote now or in older versions.

        Args:
            path: of the CSV file.
            settings: the columns that it must have beside the schema's; None: any.

        Raises:
            MuloError: it has other columns, or values of the wrong kind.
        """
        texts = self.converted(_texts(path))
        self._check_columns(texts, path, settings)
        typed = {name: self._typed(texts[name], self.columns.get(name, str), path) for name in texts}
        return pd.DataFrame(typed)

    def _check_columns(self, texts: pd.DataFrame, path: Path, settings: Sequence[str] | None) -> None:
        needed = [*self.columns, *(settings or ())]
        missing = [name for name in needed if name not in texts]
        unknown = [name for name in texts if name not in needed] if settings is not None else []
        if missing or unknown or texts.columns.has_duplicates:
            raise MuloError(
                f"{path} is not a {self.what}: its columns are {', '.join(texts) or 'missing'}; "
                f"expected {', '.join(needed)}."
            )

    def _typed(self, texts: pd.Series, kind: type, path: Path) -> pd.Series:
        try:
            typed = texts.map(kind).astype(kind)
        except ValueError as error:
            raise MuloError(f"{path}, column {texts.name}: {error}.") from error
        choices = self.choices.get(str(texts.name))
        if choices is not None and not texts.isin(choices).all():
            wrong = texts[~texts.isin(choices)].iloc[0]
            raise MuloError(f"{path}, column {texts.name}: {wrong!r} is invalid; expected {' or '.join(choices)}.")
        return typed


def _texts(path: Path) -> pd.DataFrame:
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header, rows = next(reader, []), []
        for row in reader:
            if len(row) != len(header):
                raise MuloError(f"{path}, line {reader.line_num}: {len(row)} values are given; expected {len(header)}.")
            rows.append(row)
    return pd.DataFrame(rows, columns=header, dtype=str)
