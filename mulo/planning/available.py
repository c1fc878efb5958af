"""How much memory a job can have: the machine's or the container's on CPUs, the device's on accelerators.

An estimate counts the process with all that it holds, so what this process holds already is a part of what it can have.
"""

from pathlib import Path

import jax

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
STATUS = Path("/proc/self/status")


def available_bytes() -> int | None:
    """Bytes that a job of this process can have in all; None where neither the system nor the device tells."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        left = host_bytes()
        return None if left is None else left + held_bytes()
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None


def host_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """The lesser of what Linux calls available and what the control group leaves; None elsewhere."""
    return min((n for n in (_line(meminfo, "MemAvailable"), _cgroup(cgroup)) if n is not None), default=None)


def held_bytes(status: Path = STATUS) -> int:
    """What this process holds and no other could have before it ends: its resident memory without mapped files."""
    return _line(status, "RssAnon") or 0


def _line(path: Path, name: str) -> int | None:
    """Bytes of a line such as `MemAvailable:   50 kB`."""
    try:
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        return 1024 * int(lines[name].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def _cgroup(folder: Path) -> int | None:
    """Version 2, then version 1; files that the system can drop from its cache do not count as used."""
    for limit, used, droppable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            stat = folder / Path(limit).parent / "memory.stat"
            counts = dict(line.split() for line in stat.read_text(encoding="utf-8").splitlines())
            held = int((folder / used).read_text(encoding="utf-8")) - int(counts[droppable])
            return int((folder / limit).read_text(encoding="utf-8")) - held
        except (OSError, KeyError, ValueError):  # no such file, or "max": no limit
            continue
    return None
