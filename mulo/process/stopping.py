"""Ctrl-C, SIGTERM and SIGUSR2: finish the step, save, print how to continue."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""The last is what clusters commonly send before a time limit; submitit does."""
AGAIN_SECONDS = 2.0
"""Within this time a second signal is an echo: a terminal's Ctrl-C reaches all processes, and they tell each other."""


class StopSignal(KeyboardInterrupt):
    """One of SIGNALS at a time when there is nothing to save."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signal_number).name}.")
        self.signal_number = signal_number


class Stop:
    """Remembers the first signal that asked for a stop."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._time = 0.0

    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal_number is not None

    def repeated(self, number: int) -> bool:
        """Notes a signal: false for the first one, true for its echo; a second one ends the process here."""
        if not self.requested():
            self.signal_number, self._time = number, time.monotonic()
            return False
        if time.monotonic() > self._time + AGAIN_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        return True


@contextmanager
def graceful_stop(console: Console) -> Iterator[Stop]:
    """While open, the first of SIGNALS only sets the flag; a second one ends the process at once."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.repeated(number):
            return
        console.print("\nStopping after this step; everything will be saved. Press Ctrl-C again to abort.")

    with handling(handle):
        yield stop


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """While open, SIGNALS raise StopSignal, once."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if not stop.repeated(number):
            raise StopSignal(number)

    with handling(handle):
        yield


@contextmanager
def handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Gives SIGNALS to `handle` while open."""
    old = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
