"""Ctrl-C and SIGTERM: finish what is under way, save, say how to go on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console


class Stop:
    """Remembers the first signal that asked for a stop."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal_number is not None


@contextmanager
def graceful_stop(console: Console) -> Iterator[Stop]:
    """While open, the first SIGINT or SIGTERM only sets the flag; a second one ends the process at once."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.requested():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.signal_number = number
        console.print("\nStopping after the step under way; what is done will be saved. Once more ends it at once.")

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
