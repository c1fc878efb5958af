"""job.json: what became of the job of a run directory, how often it was started, and on what it ran."""

import json
import os
import platform
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mulo import provenance
from mulo.errors import FullDiskError, Interrupted, MuloError
from mulo.files import replacing
from mulo.process.every import every
from mulo.process.stopping import StopSignal

FILE, TRACEBACK = "job.json", "error.txt"
BEAT_SECONDS = 15.0
"""How often a running job notes its time: what a SIGKILL cuts off is missing from `wall_seconds`, at most this much."""


@dataclass(frozen=True)
class Status:
    """The content of job.json."""

    status: str
    """`running` (or killed while it was), `finished`, `failed`, `interrupted`."""
    mode: str
    reason: str | None = None
    """One line on a failure or an interruption."""
    exit_code: int | None = None
    starts: int = 0
    wall_seconds: float = 0.0
    """Of all starts together."""
    first_started: str = ""
    """In UTC, ISO 8601, as all times."""
    started: str = ""
    updated: str = ""
    ended: str | None = None
    process: str = ""
    """Host and process number of the last start."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Of the last start."""


class Outcome(NamedTuple):
    """What becomes of a job after an error."""

    status: str
    exit_code: int
    reason: str


def outcome(error: BaseException) -> Outcome:
    """Exit codes: 2 where the input was refused, 128 + signal where the job was stopped, else (a full disk too) 1."""
    if isinstance(error, Interrupted | StopSignal):
        return Outcome("interrupted", 128 + error.signal_number, _line(str(error)))
    if isinstance(error, KeyboardInterrupt):
        return Outcome("interrupted", 130, "Stopped by Ctrl-C.")
    if isinstance(error, MuloError):
        return Outcome("failed", 1 if isinstance(error, FullDiskError) else 2, _line(str(error)))
    return Outcome("failed", 1, _line(f"{type(error).__name__}: {error}"))


def _line(text: str) -> str:
    return " ".join(text.split())[:1000]


def this_process() -> str:
    """Host and number of this process."""
    return f"{platform.node()}:{os.getpid()}"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(folder: Path) -> Status | None:
    """The status of a run directory; None where there is none, or one that cannot be read."""
    try:
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Status(**{spec.name: stored[spec.name] for spec in fields(Status)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def finished(folder: Path, mode: str) -> Status | None:
    """The status where nothing is left to do in this mode, else None; `main` has done what `meta_train` does."""
    last = read(folder)
    if last is None or last.status != "finished":
        return None
    return last if last.mode == mode or (last.mode, mode) == ("main", "meta_train") else None


class StatusFile:
    """Keeps job.json up to date from one start of a job to its end."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.exit_code = 0
        """Of a job that comes to its end: 1 where a check failed."""
        self._path, self._begun, self._writing = folder / FILE, time.monotonic(), threading.Lock()
        time_ = now()
        last = read(folder) or Status("running", mode, first_started=time_)
        self._before = last.wall_seconds
        status = Status("running", mode, starts=last.starts + 1, first_started=last.first_started, started=time_)
        origin = provenance.provenance() | {"accelerator": None}
        self._status = replace(status, process=this_process(), provenance=origin)
        self.write()

    def write(self, **changes: Any) -> None:
        """Writes the file, with the time that has passed."""
        with self._writing:
            seconds = round(self._before + time.monotonic() - self._begun, 3)
            self._status = replace(self._status, wall_seconds=seconds, updated=now(), **changes)
            with replacing(self._path) as partial:
                partial.write_text(json.dumps(asdict(self._status), indent=1, ensure_ascii=False) + "\n", "utf-8")

    def end(self, status: str, exit_code: int, reason: str | None = None) -> None:
        """Writes the file for the last time."""
        origin = self._status.provenance | {"accelerator": _accelerator()}
        self.write(status=status, exit_code=exit_code, reason=reason, ended=now(), provenance=origin)

    @property
    def seconds(self) -> float:
        """Of all starts together, when the file was last written."""
        return self._status.wall_seconds


def _accelerator() -> str | None:
    # Asking may be what fails: a job can end because no device can be had.
    with suppress(Exception):
        return provenance.accelerator()
    return None


@contextmanager
def recorded(folder: Path, mode: str) -> Iterator[StatusFile]:
    """Keeps job.json while open; what ends the block decides the status, and a failure leaves error.txt."""
    record = StatusFile(folder, mode)
    try:
        with every(BEAT_SECONDS, record.write):
            yield record
    except BaseException as error:
        result = outcome(error)
        with suppress(OSError):  # of a full disk: the error that is raised says more
            record.end(*result)
            if result.status == "failed":
                (folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), "utf-8")
        raise
    record.end("finished", record.exit_code)
    (folder / TRACEBACK).unlink(missing_ok=True)
