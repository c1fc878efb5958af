"""One process at a time in a folder. The kernel frees a lock when its holder ends, however it ends.

The package `filelock` would save some lines; but where a file system knows no locks it fails, or falls back to files
that outlive a killed holder.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mulo.errors import BusyError

FILE = ".lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: Path, announce: Callable[[str], None], wait: bool = True) -> Iterator[None]:
    """Holds `folder`/.lock while open; the folder is made where it is missing.

    Args:
        folder: which only one process at a time is to write into.
        announce: is given one sentence where this process has to wait, or the file system knows no locks.
        wait: whether to wait for another process that holds the lock.

    Raises:
        BusyError: another process holds it, and `wait` is false.
    """
    current = False
    while not current:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a", encoding="utf-8") as file:
            try:
                if not _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    if not wait:
                        raise BusyError(f"{folder} is in use by another process.")
                    announce(f"{folder} is in use by another process: waiting for it.")
                    fcntl.flock(file, fcntl.LOCK_EX)
                current = _is_current(file, folder / FILE)
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    raise
                announce(
                    f"{folder} cannot be locked ({error.strerror}): make sure that only one process writes into it."
                )
                current = True
            if current:
                yield


def held(folder: Path) -> bool:
    """Whether some process holds the folder's lock now."""
    try:
        with (folder / FILE).open("r", encoding="utf-8") as file:
            return not _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False


def _lock(file: IO[str], operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    return True


def _is_current(file: IO[str], path: Path) -> bool:
    """A holder that takes its folder away leaves those who waited with a lock on a file that nobody else will open."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
