"""One message for a full disk, whichever library met it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulo.errors import FullDiskError, MuloError

_ERRORS = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""A full disk, a quota, and the limit on a process's files (ulimit -f), in the system's words."""


@contextmanager
def explained(folder: Path | None) -> Iterator[None]:
    """Raises FullDiskError in place of whatever a full disk made fail; `folder` is where the job writes."""
    try:
        yield
    except MuloError:
        raise
    except Exception as error:
        message = _full(error)
        if message is None:
            raise
        path = getattr(error, "filename", None) or folder or "the output"
        raise FullDiskError(
            f"{path} could not be written: {message}. What was saved before is complete: free some space, and the "
            "same command continues from there."
        ) from error


def _full(error: BaseException) -> str | None:
    """The system's message, where a full disk caused an error; TensorStore passes it on as text only."""
    texts = [str(inner) for inner in _behind(error)]
    return next((message for text in texts for message in _ERRORS if message in text), None)


def _behind(error: BaseException) -> Iterator[BaseException]:
    yield error
    for inner in (error.__cause__ or error.__context__, *getattr(error, "exceptions", ())):
        if inner is not None:
            yield from _behind(inner)
