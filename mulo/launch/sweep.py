"""The launching process of a sweep: reports, the stop, and the table at the end."""

import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import FrameType

from rich.markup import escape
from rich.table import Table

from mulo import distributed
from mulo.process.events import JobRow, Log, rows, settled
from mulo.process.every import every
from mulo.process.stopping import Stop, handling
from mulo.reporting.progress import wide_console
from mulo.reporting.units import of_seconds

_POLL_SECONDS = 0.25
_DONE = ("finished", "skipped")
REPORTED = (*_DONE, "failed", "interrupted")
"""What is reported of a job at once."""
_WORDS = {"skipped": "skipped (done before)"}


class Sweep:
    """From the launch of a sweep to its exit code; nothing happens, and nothing is written, before `begin`."""

    def __init__(self) -> None:
        self.log, self.begun = Log.new(), False
        self._planned: list[list[str]] = []
        self._reported: set[tuple[int, str]] = set()
        self._stop, self._open = Stop(), ExitStack()

    def begin(self, planned: Sequence[Sequence[str]]) -> None:
        """Takes over SIGINT and SIGTERM, and reports from now on which jobs have ended.

        Args:
            planned: every job's overrides; empty where the sweeper decides on the way.
        """
        self.begun, self._planned = True, [list(overrides) for overrides in planned]
        self._open.enter_context(handling(self._handle))
        self._open.enter_context(every(_POLL_SECONDS, self.report))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if not self._stop.repeated(number):
            self.log.append("stop", signal=number)
            _error("Stopping: running jobs save and end, others are not started. Press Ctrl-C again to abort.")

    def _rows(self) -> list[JobRow]:
        return rows(self.log.read(), self._planned)

    def report(self) -> None:
        """One line for every job that has ended, or waits for another process, since the last report."""
        jobs = self._rows()
        for row in jobs:
            waits = row.status == "running" and row.reason is not None
            if (row.status in REPORTED or waits) and (row.job, row.status) not in self._reported:
                self._reported.add((row.job, row.status))
                done = sum(status in REPORTED for _, status in self._reported)
                self._print(row, done, max(len(jobs), len(self._planned)))

    def _print(self, row: JobRow, done: int, total: int) -> None:
        text = f"[{done}/{total}] {' '.join(self._varying(row)) or 'job'}: {_status(row)}"
        if row.status in _DONE:
            if row.seconds is not None and row.status == "finished":
                text += f" after {of_seconds(row.seconds)}"
            print(text, flush=True)
        else:
            _error(f"{text}. {row.reason}")

    def _varying(self, row: JobRow) -> list[str]:
        """The overrides that not all jobs have in common."""
        common = set.intersection(*map(set, self._planned)) if len(self._planned) > 1 else set()
        return [override for override in row.overrides if override not in common]

    def wait_for_the_rest(self) -> None:
        """Waits for child processes, after the death of one has ended the launcher."""
        with suppress(ChildProcessError):
            while True:
                os.wait()

    def end(self) -> int:
        """Prints the table and returns the exit code: 0 where every job is finished, now or before."""
        self._open.close()
        self.report()
        jobs = [settled(row) for row in self._rows()]
        console = wide_console()
        console.print(self._table(jobs))
        for row in jobs:
            if row.reason and row.status not in _DONE:
                _error(f"Job {row.job} ({' '.join(self._varying(row))}): {_status(row)}. {row.reason}")
        print(_summary(jobs), flush=True)
        stopped = self.log.stop()
        return 128 + stopped if stopped is not None else max((row.exit_code for row in jobs), default=0)

    def _table(self, jobs: Sequence[JobRow]) -> Table:
        table = Table("job", "settings", "status", "wall time", "directory")
        for row in jobs:
            seconds = "" if row.seconds is None else of_seconds(row.seconds)
            folder = "" if row.directory is None else os.path.relpath(row.directory)
            table.add_row(str(row.job), escape(" ".join(self._varying(row))), _status(row), seconds, escape(folder))
        return table


def _status(row: JobRow) -> str:
    checked = f" (exit code {row.exit_code})" if row.status in _DONE and row.exit_code else ""
    return _WORDS.get(row.status, row.status) + checked


def _summary(jobs: Sequence[JobRow]) -> str:
    counts = Counter(row.status for row in jobs)
    parts = [f"{count} {_WORDS.get(name, name)}" for name, count in counts.items()]
    again = "" if all(row.status in _DONE for row in jobs) else " The same command continues with what is missing."
    return f"{len(jobs)} job{'s' if len(jobs) != 1 else ''}: {', '.join(parts)}.{again}"


def explain(error: BaseException) -> str | None:
    """What a launcher's error means to the user, where it is about a worker and not about the sweep itself."""
    name = type(error).__name__
    if name in ("TerminatedWorkerError", "BrokenProcessPool"):
        return (
            "A worker process exited without reporting an error (killed, or out of memory), and joblib ended "
            "the others. If memory was short, run fewer at a time: hydra.launcher.n_jobs=1."
        )
    if isinstance(error, KeyboardInterrupt):
        return "Aborted: what the running jobs had not saved is lost."
    if name in ("UncompletedJobError", "FailedJobError"):
        return "A process exited without reporting an error (killed, out of time or of memory); other jobs continue."
    return None


def broken(sweep: Sweep, error: BaseException) -> None:
    """Reports why the launcher gave up, and waits for its jobs that still run."""
    message = explain(error)
    if message is None:
        traceback.print_exception(error)
        return
    _error(message)
    if type(error).__module__.startswith("submitit"):
        sweep.wait_for_the_rest()


def share_cores(together: int) -> None:
    """Gives each of several jobs on this machine its share of the cores, where the user has not decided."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(max(1, distributed.cores() // max(1, together))))


def _error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
