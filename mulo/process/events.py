"""The events of a sweep: a file of JSON lines that its jobs append to, in whichever process or machine they run."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mulo import locks
from mulo.process.status import now, this_process

FOLDER = Path("runs/multirun")
ENDS = ("finished", "skipped", "failed", "interrupted", "not started")


@dataclass(frozen=True)
class Log:
    """The file, and the process that launched the sweep; travels to the jobs with their code."""

    path: Path
    launcher: str

    @classmethod
    def new(cls) -> "Log":
        """Of a sweep launched by this process; the file is made by its first event."""
        name = f"{now().replace(':', '-')}-{os.getpid()}.jsonl"
        return cls((FOLDER / name).absolute(), this_process())

    @property
    def launched_here(self) -> bool:
        """Whether this is the process that launched the sweep."""
        return self.launcher == this_process()

    def append(self, event: str, **more: Any) -> None:
        """Adds one line, in one write, so that lines of several processes do not mix."""
        line = json.dumps({"event": event, **more, "time": now(), "process": this_process()}, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)

    def read(self) -> list[dict[str, Any]]:
        """All events so far, in order; incomplete lines are left out."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [event for event in map(_parsed, lines) if event]

    def stop(self) -> int | None:
        """The signal that stopped the sweep, if one did."""
        return next((event["signal"] for event in self.read() if event["event"] == "stop"), None)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


class JobRow(NamedTuple):
    """What is known of one job."""

    job: int
    overrides: Sequence[str]
    status: str
    """One of ENDS, or `running`, `killed`."""
    seconds: float | None = None
    """Wall time over all starts of the job."""
    directory: str | None = None
    reason: str | None = None
    exit_code: int = 1


def rows(events: Iterable[dict[str, Any]], planned: Sequence[Sequence[str]]) -> list[JobRow]:
    """The jobs in order, each by its last event; those planned without any are `not started`."""
    jobs = {number: JobRow(number, overrides, "not started") for number, overrides in enumerate(planned)}
    for event in events:
        if "job" in event:
            jobs[event["job"]] = _row(event)
    return [jobs[number] for number in sorted(jobs)]


def _row(event: dict[str, Any]) -> JobRow:
    known = {name: event[name] for name in JobRow._fields if name in event}
    return JobRow(**known | {"status": event["event"] if event["event"] in ENDS else "running"})


def settled(row: JobRow) -> JobRow:
    """A job that began, never ended and holds no lock any more was killed."""
    alive = row.status != "running" or (row.directory is not None and locks.held(Path(row.directory)))
    return row if alive else row._replace(status="killed", reason="Its process exited without reporting an error.")
