"""The cache of what takes time to make: compiled programs, the native kernel, prepared datasets."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mulo.errors import DataError


def folder() -> Path:
    """`$XDG_CACHE_HOME/mulo`, or `~/.cache/mulo`; made if it is missing. OSError where it cannot be."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mulo"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A lock on a path for one process of this machine at a time; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(name: str, make: Callable[[Path], None]) -> Path:
    """The file or folder `name` of the cache, made by `make(path)` where it is missing, completely or not at all.

    Raises DataError where it cannot be written.
    """
    try:
        path = folder() / name
        with locked(path):
            if not path.exists():
                with tempfile.TemporaryDirectory(prefix=f"{name}-partial-", dir=path.parent) as scratch:
                    make(Path(scratch) / name)
                    (Path(scratch) / name).replace(path)
        return path
    except OSError as error:
        advice = "Free some space, or set XDG_CACHE_HOME to a folder that can be written."
        raise DataError(f"mulo's cache cannot keep {name}: {error}. {advice}") from error


def keep_compiled_programs() -> None:
    """Turns on JAX's persistent compilation cache, in one folder per version of jaxlib.

    What the user has set up (`JAX_COMPILATION_CACHE_DIR`) stays as it is; where no folder can be made, nothing is kept.
    """
    import jax
    import jaxlib

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        path = folder() / f"compiled-jaxlib-{jaxlib.__version__}"
        path.mkdir(exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
