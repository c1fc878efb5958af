"""One start of one job: alone, or in a sweep, where it may be done before and must not take others down."""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mulo import distributed, kernel_library, locks
from mulo.config import Config
from mulo.errors import BusyError, MuloError
from mulo.jobs.report import report
from mulo.process import full_disk, places, run_directory, status
from mulo.process.events import Log
from mulo.process.every import every
from mulo.process.status import Status, finished, outcome, recorded
from mulo.process.stopping import stopped_at_once

OUTPUT = "output.txt"
WITHOUT_DIRECTORY = ("verify", "plan", "report")
_POLL_SECONDS = 1.0


def alone(config: Config) -> int:
    """Runs the job and returns its exit code; a job that was refused before it wrote anything leaves nothing.

    Raises:
        BusyError: another process is at work in the run directory.
    """
    folder = _directory(config)
    if folder is None:
        return _run(config, folder)
    with (
        _leaving_nothing(folder),
        full_disk.told(folder),
        _locked(config, folder),
        stopped_at_once(),
        recorded(folder, config.mode) as record,
    ):
        run_directory.check(config)
        record.exit_code = _run(config, folder)
        return record.exit_code


def _directory(config: Config) -> Path | None:
    """Of a job that has one, in the process that writes into it."""
    writes = config.mode not in WITHOUT_DIRECTORY and distributed.will_lead(config.distributed)
    return run_directory.choose(config) if writes else None


def _run(config: Config, folder: Path | None) -> int:
    with full_disk.told(folder):
        if config.mode == "report":  # needs no JAX
            return report(config, Console())
        kernel_library.begin()  # while JAX is being imported
        from mulo.launch import dispatch

        return dispatch.run(config)


@contextmanager
def _locked(config: Config, folder: Path) -> Iterator[None]:
    places.make(folder, run_directory.KEY)
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(folder, _say, wait=False))
        except BusyError as error:
            other = status.read(folder)
            who = f" (process {other.process}, since {other.started})" if other else ""
            raise BusyError(
                f"{run_directory.said(config)} is in use by another process{who}. Wait for its end and start again, "
                "or choose another run_dir."
            ) from error
        yield


@contextmanager
def _leaving_nothing(folder: Path) -> Iterator[None]:
    """Takes away what a start made that was refused before the run directory had its config.yaml."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BusyError:
        raise
    except MuloError:
        with suppress(OSError):  # nothing can be there where nothing can be made
            _take_away(folder, made)
        raise


def _take_away(folder: Path, made: Sequence[Path]) -> None:
    if (folder / "config.yaml").exists():
        return
    for name in (status.FILE, status.TRACEBACK, locks.FILE):
        (folder / name).unlink(missing_ok=True)
    for place in made:
        with suppress(OSError):  # somebody else's files are in it by now
            place.rmdir()


@dataclass(frozen=True)
class SweepJob:
    """A job's place in its sweep."""

    log: Log
    number: int
    overrides: Sequence[str]

    def note(self, event: str, **more: Any) -> None:
        """Appends an event of this job."""
        self.log.append(event, job=self.number, overrides=list(self.overrides), **more)


def of_sweep(job: SweepJob, compose: Callable[[], Config]) -> int:
    """Runs the job unless it is done; every outcome is noted, and no error leaves. Returns the exit code."""
    if not job.log.launched_here:
        _leave_signals_to_the_launcher()
    stopped = job.log.stop()
    if stopped is not None:
        job.note("not started", exit_code=128 + stopped)
        return 128 + stopped
    place: dict[str, Any] = {}
    try:
        with stopped_at_once(), _obeying(job.log):
            return _started(job, compose(), place)
    except BaseException as error:
        found = outcome(error)
        try:
            job.note(found.status, exit_code=found.exit_code, reason=found.reason, **place, **_seconds(place))
        except OSError:  # the disk of the sweep's log is full: the terminal is left
            _say(found.reason)
        if found.exit_code == 1 and not isinstance(error, MuloError):
            traceback.print_exception(error)
        if found.status == "interrupted" and job.log.launched_here:
            job.log.append("stop", signal=found.exit_code - 128)
        return found.exit_code
    finally:
        _clear()


def _leave_signals_to_the_launcher() -> None:
    """Between jobs too, or a terminal's Ctrl-C would end this process before its sweep has decided anything."""
    # SIGUSR2 is submitit's own business between jobs.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _started(job: SweepJob, config: Config, place: dict[str, Any]) -> int:
    """`place` is told the directory as soon as it is known."""
    folder = _directory(config)
    if folder is None:
        job.note("started")
        code = _run(config, folder)
        job.note("finished", exit_code=code)
        return code
    place["directory"] = str(folder.absolute())
    if done := finished(folder, config.mode):
        return _skipped(job, place, done)
    places.make(folder, run_directory.KEY)
    with full_disk.told(folder), locks.locked(folder, lambda text: job.note("waiting", reason=text, **place)):
        if done := finished(folder, config.mode):
            return _skipped(job, place, done)
        run_directory.check(config)
        return _recorded(job, config, folder, place)


def _recorded(job: SweepJob, config: Config, folder: Path, place: dict[str, Any]) -> int:
    with recorded(folder, config.mode) as record:
        job.note("started", **place)
        with _output(folder, job.log):
            record.exit_code = _run(config, folder)
    # After job.json: a job that is killed in between is found finished by the next start.
    job.note("finished", exit_code=record.exit_code, seconds=record.seconds, **place)
    return record.exit_code


def _skipped(job: SweepJob, place: dict[str, Any], done: Status) -> int:
    code = done.exit_code or 0
    job.note("skipped", exit_code=code, seconds=done.wall_seconds, **place)
    return code


def _seconds(place: dict[str, Any]) -> dict[str, Any]:
    found = status.read(Path(place["directory"])) if place else None
    return {"seconds": found.wall_seconds} if found else {}


@contextmanager
def _obeying(log: Log) -> Iterator[None]:
    """While open, a sweep that is told to stop stops this process too, on whichever machine it is."""
    if log.launched_here:
        yield
        return
    told: list[int] = []

    def look() -> None:
        if not told and (number := log.stop()) is not None:
            told.append(number)
            os.kill(os.getpid(), number)

    with every(_POLL_SECONDS, look):
        yield


@contextmanager
def _output(folder: Path, log: Log) -> Iterator[None]:
    """What a job of a process of its own prints goes into its directory: the terminal is the launching process's."""
    if log.launched_here:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with (folder / OUTPUT).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def _clear() -> None:
    """Processes live on from job to job: compiled programs and data of one are no use to the next."""
    if jax := sys.modules.get("jax"):
        jax.clear_caches()
    gc.collect()


def _say(text: str) -> None:
    print(text, file=sys.stderr)
