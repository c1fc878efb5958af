"""Progress of long loops: a bar on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

PLAIN_INTERVAL = 15.0
"""Seconds that pass at least between two plain lines."""


class OuterProgress:
    """Counts the steps of one loop, and shows them while its `with` block runs.

    The rate is measured from the first update on, because the time before it goes into compilation.
    """

    def __init__(
        self,
        description: str,
        total: int,
        start: int,
        value_name: str,
        display: "_Bar | _Lines",
        clock: Callable[[], float],
    ) -> None:
        self.description, self.total, self.step = description, total, start
        self._value_name, self._display, self.clock = value_name, display, clock
        self._value: float | None = None
        self._first: tuple[int, float] | None = None
        self._opened = clock()

    def update(self, step: int, value: float | None = None) -> None:
        """Sets how many steps are done in all, and the current value unless it is None."""
        self.step = step
        self._value = self._value if value is None else float(value)
        self._first = self._first or (step, self.clock())
        self._display.show(self)

    @property
    def rate(self) -> float | None:
        """Steps per second since the first update; None before the second."""
        if self._first is None:
            return None
        steps, seconds = self.step - self._first[0], self.clock() - self._first[1]
        return steps / seconds if steps > 0 and seconds > 0 else None

    @property
    def state(self) -> str:
        """Value, rate, elapsed and remaining time in words; until the first update, that it is compiling."""
        elapsed = f"{_duration(self.clock() - self._opened)} elapsed"
        if self._first is None:
            return f"compiling …, {elapsed}"
        value = [] if self._value is None else [f"{self._value_name} {self._value:.4g}"]
        if self.rate is None:
            return ", ".join([*value, elapsed])
        pace = [f"{self.rate:.3g} steps/s", elapsed]
        left = [f"{_duration((self.total - self.step) / self.rate)} left"] if self.step < self.total else []
        return ", ".join(value + pace + left)

    def __enter__(self) -> "OuterProgress":
        self._opened = self.clock()
        self._display.open(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.close(self, failed=error is not None)


def progress(
    description: str,
    total: int,
    start: int = 0,
    value_name: str = "value",
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> OuterProgress:
    """Progress of a loop of `total` steps, of which `start` are done already, on stderr or `console`.

    Use it as `with progress("meta-training", total=300) as bar: … bar.update(step, value)`.
    """
    if console is None:
        # Rich takes FORCE_COLOR for a terminal, and a log file would fill with control characters.
        console = Console(stderr=True, force_terminal=sys.stderr.isatty())
    live = console.is_terminal and not console.is_dumb_terminal
    return OuterProgress(description, total, start, value_name, _Bar(console) if live else _Lines(console), clock)


class _Bar:
    """A live bar; a thread updates the spinner and the elapsed time while a step runs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def open(self, progress: OuterProgress) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24))
        counts = (MofNCompleteColumn(), _State(progress))
        self._bar = Progress(*columns, *counts, console=self._console)
        self._row = self._bar.add_task(progress.description, total=progress.total, completed=progress.step)
        self._bar.start()

    def show(self, progress: OuterProgress) -> None:
        self._bar.update(self._row, completed=progress.step)

    def close(self, progress: OuterProgress, failed: bool) -> None:
        self._bar.stop()


class _State(ProgressColumn):
    def __init__(self, progress: OuterProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        """The state at this moment."""
        return Text(self._progress.state, no_wrap=True, overflow="ellipsis")


class _Lines:
    """Plain lines: one when the loop starts, one every PLAIN_INTERVAL seconds at most, one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = 0.0

    def open(self, progress: OuterProgress) -> None:
        self._print(progress)

    def show(self, progress: OuterProgress) -> None:
        if progress.clock() - self._printed >= PLAIN_INTERVAL:
            self._print(progress)

    def close(self, progress: OuterProgress, failed: bool) -> None:
        self._print(progress, "stopped at " if failed else "")

    def _print(self, progress: OuterProgress, word: str = "") -> None:
        self._printed = progress.clock()
        line = f"{progress.description} {word}{progress.step}/{progress.total}: {progress.state}"
        self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def wide_console() -> Console:
    """For tables: a log file has no width, and rows broken at 80 characters are hard to read."""
    return Console(width=None if sys.stdout.isatty() else 200)
