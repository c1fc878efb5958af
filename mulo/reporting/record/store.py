"""The files that a record is kept in: record.json, results.csv and curves.npz."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mulo.config import ClaimConfig, SweepConfig
from mulo.errors import MuloError
from mulo.evaluation import coordinate_rows
from mulo.evaluation.results import Result, read_curves, write_curves
from mulo.files import replacing
from mulo.reporting.record.contents import Job, Loss, Movement, Preparation, Record

FORMAT = 1
_HEAD, _TABLE, _CURVES = "record.json", "results.csv", "curves.npz"
_IN_ALL = ("contestant", "task", "data", "meta_seed")
_RESULT: Mapping[str, Any] = Result.__annotations__
_MOVEMENT: Mapping[str, Any] = coordinate_rows.Row.__annotations__


def is_record(folder: Path) -> bool:
    """Whether this folder holds one."""
    return (folder / _HEAD).is_file()


def write(record: Record, folder: Path) -> None:
    """Writes the three files; the same record gives the same bytes."""
    head = {"format": FORMAT} | {name: getattr(record, name) for name in ("scale", "date", "varied", "tolerance")}
    head |= {"sweep": asdict(record.sweep), "jobs": [asdict(job) for job in record.jobs]}
    with replacing(folder / _HEAD) as partial:
        partial.write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n", "utf-8")
    rows = [_movement_row(own) for own in record.movements] or [_loss_row(own) for own in record.losses]
    with replacing(folder / _TABLE) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(record), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / _CURVES).unlink(missing_ok=True)
    if record.curves:
        write_curves(record.curves, folder / _CURVES)


def _columns(record: Record) -> list[str]:
    if record.movements:
        return [*_IN_ALL, *record.varied, *(name for name in _MOVEMENT if name != "optimizer"), "optimizer"]
    sizes = ("width", "depth", "steps", "meta_seed", "seed")
    losses = ("initial_loss", "train_loss", "test_loss", "status")
    return ["contestant", "parametrization", "task", "data", *sizes, *record.varied, *losses]


def _loss_row(own: Loss) -> dict[str, Any]:
    more = {name: getattr(own, name) for name in ("data", "meta_seed", "initial_loss")}
    row = own.result._asdict() | more | dict(own.settings)
    return {"contestant": row.pop("optimizer"), **row}


def _movement_row(own: Movement) -> dict[str, Any]:
    head = {name: getattr(own, name) for name in _IN_ALL}
    return {**own.row, **head, **own.settings}


def read(folder: Path) -> Record:
    """Reads what `write` wrote; raises MuloError where a file is missing or holds something else."""
    try:
        head = json.loads((folder / _HEAD).read_text("utf-8"))
        if head["format"] != FORMAT:
            raise MuloError(f"{folder / _HEAD} has format {head['format']}, and {FORMAT} is read here.")
        return _read(folder, head)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MuloError(
            f"{folder} is not a complete record ({type(error).__name__}: {error}). Gather it again from the sweep's "
            "directory with mode=report report.of=<directory>, or restore its files."
        ) from error


def _read(folder: Path, head: Mapping[str, Any]) -> Record:
    claims = [ClaimConfig(**claim) for claim in head["sweep"]["claims"]]
    varied = list(head["varied"])
    with (folder / _TABLE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    moved = bool(rows) and "measure" in rows[0]
    curves = folder / _CURVES
    return Record(
        sweep=SweepConfig(**head["sweep"] | {"claims": claims}),
        scale=head["scale"],
        date=head["date"],
        varied=varied,
        tolerance=head["tolerance"],
        jobs=[Job(**job | {"preparation": Preparation(**job["preparation"])}) for job in head["jobs"]],
        losses=[] if moved else [_loss(row, varied) for row in rows],
        movements=[_movement(row, varied) for row in rows] if moved else [],
        curves=read_curves(curves) if curves.exists() else {},
    )


def _loss(row: Mapping[str, str], varied: Sequence[str]) -> Loss:
    found = {**row, "optimizer": row["contestant"]}
    result = Result(*(kind(found[name]) for name, kind in _RESULT.items()))
    settings = {key: row[key] for key in varied}
    return Loss(result, row["data"], int(row["meta_seed"]), settings, float(row["initial_loss"]))


def _movement(row: Mapping[str, str], varied: Sequence[str]) -> Movement:
    own: Any = {name: kind(row[name]) for name, kind in _MOVEMENT.items()}
    settings = {key: row[key] for key in varied}
    return Movement(row["contestant"], row["task"], row["data"], int(row["meta_seed"]), settings, own)
