"""The hot kernel in C++ for CPUs, called through XLA's FFI; `mulo.kernel_library` compiles it.

Without a compiler the same function runs in JAX (`tensor_update`), slower. `MULO_KERNEL=jax` asks for that;
`MULO_KERNEL=native` makes a missing kernel an error.
"""

import ctypes
import functools
import os
import threading
import warnings
from pathlib import Path

import jax

from mulo import kernel_library
from mulo.errors import KernelError

UPDATE, STATISTICS = "mulo_tensor_update", "mulo_tensor_statistics"
_CHOICES = ("auto", "native", "jax")
_LOCK = threading.Lock()


def available() -> bool:
    """Whether updates on CPUs go through the native kernel; the first call compiles it (seconds) or loads it.

    Raises:
        KernelError: `MULO_KERNEL` is not one of auto, native, jax; or it is native, and the kernel cannot be built.
    """
    # Programs may be traced side by side: one thread loads the kernel, the others wait for it.
    with _LOCK:
        return _decided()


@functools.cache
def _decided() -> bool:
    chosen = os.environ.get("MULO_KERNEL", "auto")
    if chosen not in _CHOICES:
        raise KernelError(f"MULO_KERNEL={chosen} is not known: give one of {', '.join(_CHOICES)}.")
    if chosen == "jax" or jax.default_backend() != "cpu":
        return False
    try:
        _register(kernel_library.library())
    except (KernelError, OSError) as error:
        if chosen == "native":
            raise KernelError(str(error)) from error
        warnings.warn(
            f"Learned optimizers run without their native kernel, several times slower: {error}", stacklevel=2
        )
        return False
    return True


def _register(path: Path) -> None:
    library = ctypes.CDLL(str(path))
    for target in (UPDATE, STATISTICS):
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
