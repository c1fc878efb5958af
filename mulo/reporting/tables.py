"""The console that tables are printed on."""

import sys

from rich.console import Console

_WIDE = 200


def wide_console() -> Console:
    """For tables: a log file has no width, and rows broken at 80 characters are hard to read."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)
