"""Peak resident memory of whole jobs on two CPU devices beside what the planner says: `python -m benchmarks.memory`.

Each job runs as its user starts it, with nothing compiled beforehand; results/memory.json keeps what was found, and
docs/planning.md shows it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from benchmarks.record import FOLDER, Row, commit
from mulo.config import parse
from mulo.jobs import memory
from mulo.planning.memory import Peak, this_platform

PATH = FOLDER / "memory.json"
DEVICES = 2
CASES = {
    "smallest": "mode=meta_train optimizer=small_fc_mup task=mlp",
    "wide batches": "mode=meta_train optimizer=small_fc_mup task=mlp task.width=512 task.batch_size=4096 "
    "data=synthetic recipe.pairs=4",
    "many particles": "mode=meta_train optimizer=small_fc_mup task=mlp task.width=2048 task.batch_size=16 "
    "data=synthetic recipe.pairs=8 recipe.particles_per_batch=1",
    "three programs of VeLO": "mode=meta_train optimizer=velo_mup task=mlp_multiwidth task.widths=[64,256,1024] "
    "recipe.pairs=2",
    "attention": "mode=meta_train optimizer=small_fc_mup task=transformer task.width=256 task.batch_size=64 "
    "recipe.pairs=4",
    "orthogonalized": "mode=meta_train optimizer=celo2_mup task=transformer task.width=256 task.batch_size=8 "
    "recipe.pairs=4",
    "convolutions": "mode=meta_train optimizer=velo_mup task=resnet task.width=64 task.batch_size=32 recipe.pairs=4",
    "evaluation": "mode=evaluate optimizer=adamw task=mlp task.batch_size=64 evaluation.widths=[2048] "
    "evaluation.seeds=8 evaluation.num_steps=2 evaluation.baselines=[]",
    "tuning": "mode=main optimizer=adamw task=mlp task.width=512 tuning.num_steps=1 evaluation.widths=[64] "
    "evaluation.num_steps=1 evaluation.baselines=[]",
}
"""Command lines by what fills the memory."""
SHORT = "recipe.outer_steps=1 recipe.truncation=1 recipe.min_length=1 recipe.max_length=1 logger=none"
"""One outer step with its save, two validations: more steps would take no more memory."""


class Measured(NamedTuple):
    """Bytes that a process held at its peak, and the planner's."""

    resident: int
    planned: Peak


def measure(case: str, folder: Path) -> Measured:
    """Runs a case, with its files in `folder`."""
    own = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), "JAX_NUM_CPU_DEVICES": str(DEVICES), "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "mulo.run", *CASES[case].split(), *SHORT.split(), f"run_dir={folder / 'run'}"]
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
        resident = 0
        while process.poll() is None:
            resident = max(resident, _peak_so_far(process.pid))
            time.sleep(0.05)
    if process.returncode != 0:
        said = (folder / "log").read_text(encoding="utf-8")
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}: {said}")
    return Measured(resident, planned(folder / "run"))


def _peak_so_far(pid: int) -> int:
    """Not `ru_maxrss`, in which a process inherits what its parent held when it was started."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):  # just ended
        return 0


def planned(run: Path) -> Peak:
    """The worst part of the job in this run directory."""
    config = parse(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
    pairs = config.recipe.pairs
    devices = next(n for n in range(min(DEVICES, pairs), 0, -1) if pairs % n == 0)
    found = memory.peaks(config, this_platform(config.state_dtype), devices)
    return max(found.values(), key=lambda peak: peak.total)


def main() -> None:
    """Runs all cases, one after the other."""
    state, lines = commit(), []
    for case, command in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = measure(case, Path(folder))
        sizes = {"resident_mb": round(found.resident / 1e6), "planned_mb": round(found.planned.total / 1e6)}
        parts = {name: round(size / 1e6) for name, size in found.planned.parts.items()}
        row = {"case": case, "command": command} | sizes | {"parts_mb": parts, "commit": state}
        lines.append(json.dumps(row, ensure_ascii=False))
        print(case, sizes, flush=True)
    PATH.write_text("[" + ",\n ".join(lines) + "]\n", encoding="utf-8")


def rows() -> list[Row]:
    """What was found, one per case."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def table() -> str:
    """The rows as docs/planning.md shows them."""
    lines = ["| command | planned | resident | planned / resident |", "|---|---|---|---|"]
    for row in rows():
        ratio = row["planned_mb"] / row["resident_mb"]
        gigabytes = (f"{row[key] / 1000:.2f} GB" for key in ("planned_mb", "resident_mb"))
        lines.append(f"| `{row['command']}` | {' | '.join(gigabytes)} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
