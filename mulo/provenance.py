"""Where a result comes from: commit, machine, versions. Does not load JAX."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mulo import distributed
from mulo.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def provenance() -> dict[str, Any]:
    """Commit, processor, cores, and the versions of Python, JAX and mulo."""
    return {
        "commit": commit(),
        "processor": processor(),
        "cores": distributed.cores(),
        "python": platform.python_version(),
        "jax": metadata.version("jax"),
        "mulo": __version__,
    }


def commit(root: Path = ROOT) -> str:
    """The checkout's commit, with `-dirty` where files differ from it; without a checkout, mulo's version."""
    # A folder above may be a repository of something else.
    head = _git(root, "rev-parse", "--short=12", "HEAD") if (root / ".git").exists() else None
    if head is None:
        return f"mulo {__version__}"
    return head + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        options: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "timeout": 20, "check": True}
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """The processor's name and architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({platform.machine()})"


def accelerator() -> str | None:
    """Number and kind of the accelerators that JAX uses, `none` on CPUs; None where JAX was not loaded."""
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    devices = jax.devices()
    return "none" if devices[0].platform == "cpu" else f"{len(devices)} × {devices[0].device_kind}"
