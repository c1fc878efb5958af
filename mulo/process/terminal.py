"""What mulo reads from a terminal and writes to it is UTF-8, whatever the locale."""

import io
import os
import sys


def start_in_utf8() -> None:
    """Under a locale of another encoding, starts Python anew in UTF-8 mode, for names of files and workers too.

    To be called before anything is done; it returns only where nothing is to be changed.
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8":
        return
    os.environ["PYTHONUTF8"] = "1"  # of the processes of a sweep
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def write_what_can_be_written() -> None:
    """A letter that a stream's encoding (PYTHONIOENCODING) lacks is written as its number, such as \\xb5."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
