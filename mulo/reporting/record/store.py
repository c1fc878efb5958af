"""The files of a record: record.json, results.csv and curves.npz."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mulo.config import ClaimConfig, SweepConfig
from mulo.errors import MuloError
from mulo.evaluation.coordinate_rows import CHANGES_OF_JOBS
from mulo.evaluation.results import RESULTS, read_curves, write_curves
from mulo.evaluation.tables import OLD_NAMES
from mulo.files import replacing
from mulo.reporting.record.contents import Job, Preparation, Record

FORMAT = 2
"""In format 1 columns and keys had other names (`OLD_NAMES`)."""
_HEAD, _TABLE, _CURVES = "record.json", "results.csv", "curves.npz"


def is_record(folder: Path) -> bool:
    """Whether this folder holds a record."""
    return (folder / _HEAD).is_file()


def write(record: Record, folder: Path) -> None:
    """Writes the three files; the same record gives the same bytes."""
    head = {"format": FORMAT} | {name: getattr(record, name) for name in ("scale", "date", "varied", "tolerance")}
    head |= {"sweep": asdict(record.sweep), "jobs": [asdict(job) for job in record.jobs]}
    with replacing(folder / _HEAD) as partial:
        partial.write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if len(record.changes):
        CHANGES_OF_JOBS.write(record.changes, folder / _TABLE)
    else:
        RESULTS.write(record.results, folder / _TABLE)
    (folder / _CURVES).unlink(missing_ok=True)
    if record.curves:
        write_curves(record.curves, folder / _CURVES)


def read(folder: Path) -> Record:
    """Reads what `write` wrote; raises MuloError where a file is missing or invalid."""
    try:
        head = json.loads((folder / _HEAD).read_text("utf-8"))
        if head["format"] not in range(1, FORMAT + 1):
            raise MuloError(f"{folder / _HEAD} has format {head['format']}; expected at most {FORMAT}.")
        return _read(folder, head)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MuloError(
            f"{folder} is not a complete record ({type(error).__name__}: {error}). Gather it again from the sweep's "
            "directory with mode=report report.of=<directory>, or restore its files."
        ) from error


def _read(folder: Path, head: Mapping[str, Any]) -> Record:
    claims = [ClaimConfig(**claim) for claim in head["sweep"]["claims"]]
    checked = "measure" in (folder / _TABLE).read_text("utf-8").partition("\n")[0].split(",")
    kind, schema = ("changes", CHANGES_OF_JOBS) if checked else ("results", RESULTS)
    return Record(
        sweep=SweepConfig(**head["sweep"] | {"claims": claims}),
        **{name: head[name] for name in ("scale", "date", "varied", "tolerance")},
        jobs=[_job(job) for job in head["jobs"]],
        curves=read_curves(folder / _CURVES) if (folder / _CURVES).exists() else {},
        **{kind: schema.read(folder / _TABLE, head["varied"])},
    )


def _job(stored: Mapping[str, Any]) -> Job:
    named = {OLD_NAMES.get(key, key): value for key, value in stored.items()}
    return Job(**named | {"preparation": Preparation(**stored["preparation"])})
