"""The native kernel's shared library: compiled once per machine by its C++ compiler, and cached.

Of JAX it needs only the headers, so that compiling can begin while JAX is imported. Only
`optimizers/native/tensor_update.cc` is compiled.
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

from mulo import cache
from mulo.errors import KernelError

SOURCE = Path(__file__).parent / "optimizers" / "native" / "tensor_update.cc"
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_COMPILERS = ("c++", "g++", "clang++")
_LOCK = threading.Lock()


def begin() -> None:
    """Starts compiling in the background if it has to be done; `library` waits for it."""
    if os.environ.get("MULO_KERNEL", "auto") != "jax":
        threading.Thread(target=_attempt, daemon=True).start()


def _attempt() -> None:
    with contextlib.suppress(KernelError, OSError):  # raised again where the library is needed
        library()


def library() -> Path:
    """The compiled kernel of this source, compiler, processor and jaxlib; compiled if it is not in the cache.

    Raises:
        KernelError: there is no compiler, or it fails.
        OSError: the cache cannot be written.
    """
    with _LOCK:
        compiler = _compiler()
        identity = [SOURCE.read_text(encoding="utf-8"), _run(compiler, "--version").stdout, " ".join(_FLAGS)]
        identity += [_processor(), version("jaxlib")]
        path = cache.folder() / f"kernel-{hashlib.sha256('|'.join(identity).encode()).hexdigest()[:16]}.so"
        if not path.exists():
            _compile([compiler, *_FLAGS, "-shared", "-fPIC", f"-I{_headers()}", str(SOURCE)], path)
        return path


def _headers() -> Path:
    """Where `jax.ffi.include_dir()` points, without loading it."""
    spec = importlib.util.find_spec("jaxlib")
    if spec is None or not spec.submodule_search_locations:
        raise KernelError("jaxlib's headers were not found.")
    return Path(spec.submodule_search_locations[0]) / "include"


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), *_COMPILERS)):
        if path := shutil.which(name):
            return path
    raise KernelError(f"no C++ compiler was found (looked for {', '.join(_COMPILERS)}; set CXX=<path> to name one).")


def _compile(command: list[str], path: Path) -> None:
    # Several processes may compile at once: each writes its own file, and the last rename wins.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        result = _run(*command, "-o", str(built))
        if result.returncode != 0:
            raise KernelError(f"{command[0]} cannot compile it: {result.stderr.strip()[-300:]}")
        built.replace(path)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)


def _processor() -> str:
    """What `-march=native` depends on: a home folder may be shared by machines of several kinds."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    return f"{platform.machine()} {platform.processor()} {flags}"
