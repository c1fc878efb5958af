"""The hot kernel in C++ for CPUs: compiled once per machine by the C++ compiler found there, called through XLA's FFI.

Without a compiler the same function runs in JAX (`tensor_update`), slower. `MULO_KERNEL=jax` asks for that;
`MULO_KERNEL=native` makes a missing kernel an error. Nothing but the source beside this file is ever compiled.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import warnings
from pathlib import Path

import jax

from mulo import cache
from mulo.errors import KernelError

UPDATE, STATISTICS = "mulo_tensor_update", "mulo_tensor_statistics"
_SOURCE = Path(__file__).parent / "tensor_update.cc"
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_COMPILERS = ("c++", "g++", "clang++")
_CHOICES = ("auto", "native", "jax")
_LOCK = threading.Lock()


def available() -> bool:
    """Whether updates on CPUs go through the native kernel; the first call compiles it (seconds) or loads it.

    Raises:
        KernelError: `MULO_KERNEL` is not one of auto, native, jax; or it is native, and the kernel cannot be built.
    """
    # Programs may be traced side by side: one thread builds the kernel, the others wait for it.
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
        _register(_library())
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


def _library() -> Path:
    """The compiled kernel of this source, compiler, processor and JAX; compiled if it is not in the cache."""
    compiler = _compiler()
    include = jax.ffi.include_dir()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    identity = [_SOURCE.read_text(), version, " ".join(_FLAGS), _processor(), jax.lib.__version__]
    path = cache.folder() / f"kernel-{hashlib.sha256('|'.join(identity).encode()).hexdigest()[:16]}.so"
    if not path.exists():
        _compile([compiler, *_FLAGS, "-shared", "-fPIC", f"-I{include}", str(_SOURCE)], path)
    return path


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), *_COMPILERS)):
        if found := shutil.which(name):
            return found
    raise KernelError(f"no C++ compiler was found (looked for {', '.join(_COMPILERS)}; set CXX=<path> to name one).")


def _compile(command: list[str], path: Path) -> None:
    # Several processes may compile at once: each writes its own file, and the last rename wins.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        done = subprocess.run([*command, "-o", str(built)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KernelError(f"{command[0]} cannot compile it: {done.stderr.strip()[-300:]}")
        built.replace(path)


def _processor() -> str:
    """What `-march=native` depends on: a home folder may be shared by machines of several kinds."""
    info = Path("/proc/cpuinfo")
    flags = [line for line in info.read_text().splitlines() if line.startswith("flags")] if info.exists() else []
    return f"{platform.machine()} {platform.processor()} {flags[0] if flags else ''}"
