"""What is done now and then beside other work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def every(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Calls `action` now and then, in a thread, while open; an OSError in it, as of a full disk, is passed over."""
    closed = threading.Event()

    def beat() -> None:
        while not closed.wait(seconds):
            with suppress(OSError):
                action()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()
