"""One single-threaded device, two devices, two processes: the same meta-training, outer steps per second.

Every contestant runs in processes of its own, pinned to cores, and they take turns. `python -m benchmarks devices`
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks import record
from benchmarks.record import Row

ROUNDS = 3
CONTESTANTS: dict[str, tuple[Sequence[set[int]], int]] = {
    "one single-threaded device": ([{0}], 1),
    "one device, all cores": ([{0, 1}], 1),
    "two devices": ([{0, 1}], 2),
    "two processes": ([{0}, {1}], 1),
}
"""Cores of each process, and devices per process."""
STEPS = 8
SINGLE_THREADED = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def seconds(cores: Sequence[set[int]], devices: int) -> float:
    """Median time of an outer step, as the first process saw it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    children = []
    for index, own in enumerate(cores):
        told = {"JAX_NUM_CPU_DEVICES": str(devices)}
        if len(own) == 1:
            told["XLA_FLAGS"] = SINGLE_THREADED
        if len(cores) > 1:
            told |= {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(len(cores)),
                "JAX_PROCESS_ID": str(index),
            }
        command = [sys.executable, "-m", "benchmarks.devices", ",".join(map(str, own))]
        children.append(subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE, encoding="utf-8"))
    outputs = [child.communicate()[0] for child in children]
    return float(outputs[0].split()[-1])


def child(cores: set[int]) -> None:
    """Meta-trains on these cores and prints the median time of an outer step."""
    os.sched_setaffinity(0, cores)
    from mulo import data, distributed
    from mulo.config import EmbeddedDataConfig, MLPConfig, RecipeConfig
    from mulo.meta.trainer import Trainer
    from mulo.optimizers import SmallFC
    from mulo.tasks import make_tasks

    distributed.join("auto")
    recipe = RecipeConfig(truncation=20, pairs=8, min_length=200, max_length=200, start_offset=1)
    tasks = make_tasks(MLPConfig(width=128, batch_size=128), "mup", data.load(EmbeddedDataConfig()))
    trainer: Any = Trainer(tasks, SmallFC(), recipe, 0)
    state, times = trainer.initial(), []
    for _ in range(STEPS + 1):
        begun = time.perf_counter()
        state, _ = trainer.step(state)
        times.append(time.perf_counter() - begun)
    print(median(times[1:]))


def main() -> None:
    """Measures all contestants in turns."""
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(ROUNDS):
        for name, how in CONTESTANTS.items():
            times[name].append(seconds(*how))
    base = median(times["one single-threaded device"])
    rows: list[Row] = [
        {
            "architecture": "small_fc",
            "form": name,
            "hidden": 32,
            "width": 128,
            "ms_median": 1e3 * median(found),
            "ratio_to_one_thread": base / median(found),
        }
        for name, found in times.items()
    ]
    record.put("devices", rows)


if __name__ == "__main__":
    child({int(core) for core in sys.argv[1].split(",")}) if sys.argv[1:] else main()
