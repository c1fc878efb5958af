"""One start of one job: alone, or in a sweep, where it may be done already and must not fail others."""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mulo import distributed, kernel_library, locks
from mulo.config import Config
from mulo.errors import BusyError, MuloError
from mulo.jobs.report import report
from mulo.process import full_disk, run_directory, status, writable
from mulo.process.events import Log
from mulo.process.every import every
from mulo.process.status import Status, finished, outcome, recorded
from mulo.process.stopping import stopped_at_once
from mulo.reporting.progress import wide_console

OUTPUT = "output.txt"
WITHOUT_DIRECTORY = ("verify", "plan", "report", "export")
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
        full_disk.explained(folder),
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
    with full_disk.explained(folder):
        if config.mode == "report":  # needs no JAX
            return report(config, wide_console())
        kernel_library.begin()  # while JAX is being imported
        from mulo.launch import dispatch

        return dispatch.run(config)


@contextmanager
def _locked(config: Config, folder: Path) -> Iterator[None]:
    writable.make(folder, run_directory.KEY)
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(folder, _say, wait=False))
        except BusyError as error:
            last = status.read(folder)
            process = f" (process {last.process}, since {last.started})" if last else ""
            raise BusyError(
                f"{run_directory.described(config)} is in use by another process{process}. Wait until it ends, or "
                "choose another run_dir."
            ) from error
        yield


@contextmanager
def _leaving_nothing(folder: Path) -> Iterator[None]:
    """Removes what a start made that was refused before the run directory had its config.yaml."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BusyError:
        raise
    except MuloError:
        with suppress(OSError):  # nothing exists where nothing can be made
            _remove(folder, made)
        raise


def _remove(folder: Path, made: Sequence[Path]) -> None:
    if (folder / "config.yaml").exists():
        return
    for name in (status.FILE, status.TRACEBACK, locks.FILE):
        (folder / name).unlink(missing_ok=True)
    for path in made:
        with suppress(OSError):  # another process's files are in it by now
            path.rmdir()


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep, in the process that runs it."""

    log: Log
    number: int
    overrides: Sequence[str]
    folder: Path | None = None
    """Its run directory, once it is known."""

    def note(self, event: str, **more: Any) -> None:
        """Appends an event of this job."""
        directory = {"directory": str(self.folder.absolute())} if self.folder else {}
        self.log.append(event, job=self.number, overrides=list(self.overrides), **directory, **more)


def of_sweep(job: SweepJob, compose: Callable[[], Config]) -> int:
    """Runs the job unless it is done; every outcome is noted, and no error leaves. Returns the exit code."""
    if not job.log.launched_here:
        _ignore_signals()
    stopped = job.log.stop()
    if stopped is not None:
        job.note("not started", exit_code=128 + stopped)
        return 128 + stopped
    try:
        with stopped_at_once(), _stopped_with_the_sweep(job.log):
            config = compose()
            job = replace(job, folder=_directory(config))
            return _started(job, config)
    except BaseException as error:
        return _failed(job, error)
    finally:
        _clear()


def _failed(job: SweepJob, error: BaseException) -> int:
    result, last = outcome(error), status.read(job.folder) if job.folder else None
    try:
        job.note(result.status, exit_code=result.exit_code, reason=result.reason, seconds=last and last.wall_seconds)
    except OSError:  # the disk of the sweep's log is full: print instead
        _say(result.reason)
    if result.exit_code == 1 and not isinstance(error, MuloError):
        traceback.print_exception(error)
    if result.status == "interrupted" and job.log.launched_here:
        job.log.append("stop", signal=result.exit_code - 128)
    return result.exit_code


def _ignore_signals() -> None:
    """The launcher handles them: a terminal's Ctrl-C would end this process between jobs."""
    # SIGUSR2 belongs to submitit between jobs.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _started(job: SweepJob, config: Config) -> int:
    folder = job.folder
    if folder is None:
        job.note("started")
        code = _run(config, folder)
        job.note("finished", exit_code=code)
        return code
    if done := finished(folder, config.mode):
        return _skipped(job, done)
    writable.make(folder, run_directory.KEY)
    with full_disk.explained(folder), locks.locked(folder, lambda text: job.note("waiting", reason=text)):
        if done := finished(folder, config.mode):
            return _skipped(job, done)
        run_directory.check(config)
        return _recorded(job, config, folder)


def _recorded(job: SweepJob, config: Config, folder: Path) -> int:
    with recorded(folder, config.mode) as record:
        job.note("started")
        with _output(folder, job.log):
            record.exit_code = _run(config, folder)
    # After job.json: a job that is killed in between is found finished by the next start.
    job.note("finished", exit_code=record.exit_code, seconds=record.seconds)
    return record.exit_code


def _skipped(job: SweepJob, done: Status) -> int:
    job.note("skipped", exit_code=done.exit_code or 0, seconds=done.wall_seconds)
    return done.exit_code or 0


@contextmanager
def _stopped_with_the_sweep(log: Log) -> Iterator[None]:
    """While open, a stop of the sweep stops this process too, on whichever machine it is."""
    if log.launched_here:
        yield
        return
    received: list[int] = []

    def check() -> None:
        if not received and (number := log.stop()) is not None:
            received.append(number)
            os.kill(os.getpid(), number)

    with every(_POLL_SECONDS, check):
        yield


@contextmanager
def _output(folder: Path, log: Log) -> Iterator[None]:
    """What a job in a worker process prints goes into its directory: the terminal is the launching process's."""
    if log.launched_here:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.dup(1), os.dup(2)
    with (folder / OUTPUT).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), terminal, strict=True):
            os.dup2(old, number)
            os.close(old)


def _clear() -> None:
    """Workers run several jobs: compiled programs and data of one are of no use to the next."""
    if jax := sys.modules.get("jax"):
        jax.clear_caches()
    gc.collect()


def _say(text: str) -> None:
    print(text, file=sys.stderr)
