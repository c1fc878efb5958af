"""The record of an evaluation: one row per trained network, its loss curves, and their summary over seeds."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mulo.errors import MuloError
from mulo.files import replacing


class CurveKey(NamedTuple):
    """What a set of loss curves belongs to; as text such as `velo_mup/mup/w128/d3/n200`."""

    optimizer: str
    parametrization: str
    width: int
    depth: int
    steps: int

    def __str__(self) -> str:
        return f"{self.optimizer}/{self.parametrization}/w{self.width}/d{self.depth}/n{self.steps}"

    @classmethod
    def parse(cls, text: str) -> "CurveKey":
        """From the text; raises MuloError for another one."""
        try:
            optimizer, parametrization, *sizes = text.split("/")
            return cls(optimizer, parametrization, *(int(size[1:]) for size in sizes))
        except (ValueError, TypeError) as error:
            raise MuloError(
                f"{text!r} is not the name of a curve, such as {CurveKey('adamw', 'sp', 128, 3, 200)}."
            ) from error


class Result(NamedTuple):
    """One optimizee trained once."""

    optimizer: str
    """The contestant's name, in most cases as in `optimizer=<name>`; `parametrization` is the network's."""
    parametrization: str
    task: str
    """Name of the family that the network belongs to; its width and depth have fields of their own."""
    width: int
    depth: int
    steps: int
    seed: int
    train_loss: float
    test_loss: float
    status: str
    """'finished', 'diverged(<step>)' or 'failed(<reason>)'."""

    @property
    def failed(self) -> bool:
        """Whether there was no training: what was asked could not be computed."""
        return self.status.startswith("failed")

    @property
    def diverged(self) -> bool:
        """Whether training stopped being finite, at its end or before."""
        return not self.failed and (self.status != "finished" or not math.isfinite(self.train_loss + self.test_loss))

    @property
    def key(self) -> str:
        """Under which its curves are kept."""
        return str(CurveKey(self.optimizer, self.parametrization, self.width, self.depth, self.steps))


class Summary(NamedTuple):
    """All seeds of one optimizer on one network: means and standard errors over those that did not diverge.

    A mean is nan where every seed diverged, a standard error where fewer than two remain.
    """

    optimizer: str
    parametrization: str
    task: str
    width: int
    depth: int
    steps: int
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    seeds: int
    """Number of seeds, diverged ones included."""
    diverged: int


_GROUP = ("optimizer", "parametrization", "task", "width", "depth", "steps")
_READERS: dict[str, Any] = Result.__annotations__


def write_csv(results: Iterable[Result], path: Path) -> None:
    """Writes one row per result under a header of the field names; `read_csv` returns the same results."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Result._fields)
        writer.writerows(map(_row, results))


def read_csv(path: Path) -> list[Result]:
    """Reads what `write_csv` wrote; raises MuloError for other columns and for values of the wrong type."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if tuple(header) != Result._fields:
            raise MuloError(
                f"{path} is not a table of results: its columns are {', '.join(header) or 'missing'}, "
                f"and these are needed, in this order: {', '.join(Result._fields)}."
            )
        return [_result(row, f"{path}, line {reader.line_num}") for row in reader]


def _row(result: Result) -> list[str]:
    # Through float, because NumPy's own floats print as np.float32(…).
    row = result._asdict()
    losses = {name: repr(float(row[name])) for name in ("train_loss", "test_loss")}
    return [str(value) for value in (row | losses).values()]


def _result(row: list[str], place: str) -> Result:
    if len(row) != len(Result._fields):
        raise MuloError(f"{place}: {len(row)} values were given, {len(Result._fields)} are needed.")
    try:
        return Result(*(read(text) for read, text in zip(_READERS.values(), row, strict=True)))
    except ValueError as error:
        raise MuloError(f"{place}: {error}.") from error


def summarize(results: Iterable[Result]) -> list[Summary]:
    """Groups results that differ only in their seed, in the order in which the groups first appear.

    What failed has no result and is left out.
    """
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        if result.failed:
            continue
        groups.setdefault(tuple(getattr(result, name) for name in _GROUP), []).append(result)
    return [_summary(key, members) for key, members in groups.items()]


def _summary(key: tuple[Any, ...], members: list[Result]) -> Summary:
    kept = [result for result in members if not result.diverged]
    train = _mean_and_error([result.train_loss for result in kept])
    test = _mean_and_error([result.test_loss for result in kept])
    return Summary._make([*key, *train, *test, len(members), len(members) - len(kept)])


def _mean_and_error(losses: Sequence[float]) -> tuple[float, float]:
    if not losses:
        return math.nan, math.nan
    error = float(np.std(losses, ddof=1)) / math.sqrt(len(losses)) if len(losses) > 1 else math.nan
    return float(np.mean(losses)), error


def by_optimizer(summaries: Iterable[Summary]) -> dict[tuple[str, str], dict[int, Summary]]:
    """Summaries by (optimizer, parametrization) and width; MuloError where two compete for a place."""
    found: dict[tuple[str, str], dict[int, Summary]] = {}
    for summary in summaries:
        widths = found.setdefault((summary.optimizer, summary.parametrization), {})
        if summary.width in widths:
            raise MuloError(
                f"Two results of {summary.optimizer} at width {summary.width} cannot stand in one place: "
                "give those of one task, one depth and one number of steps at a time."
            )
        widths[summary.width] = summary
    return found


def write_curves(curves: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes loss curves [seeds, steps], such as those of `CurveKey`s, as one npz file."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **curves)


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """Reads what `write_curves` wrote: loss curves [seeds, steps] by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
