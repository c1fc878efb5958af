"""How long a newcomer waits: from the command to the first outer step of the quick preset, cold and warm.

Cold is with an empty folder for compiled programs and the native kernel. `python -m benchmarks first_step`
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import record

ROUNDS = 3


def seconds(cache: str) -> tuple[float, float]:
    """From the command, and from the start of meta-training, to the end of the first outer step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.first_step", folder]
        begun = time.time()
        subprocess.run(command, env=os.environ | {"XDG_CACHE_HOME": cache}, check=True, capture_output=True)
        started, done = map(float, (Path(folder) / "times").read_text(encoding="utf-8").split())
        return done - begun, done - started


def child(folder: str) -> None:
    """The quick preset as the command line starts it, up to its first outer step."""
    sys.argv = ["mulo", "mode=meta_train", f"run_dir={folder}/run", "logger=none"]
    from mulo.meta import trainer
    from mulo.run import main

    start, times = trainer.Trainer.__init__, Path(folder) / "times"
    begun = 0.0

    def noted(self: trainer.Trainer, *args: object) -> None:
        nonlocal begun
        begun = time.time()
        start(self, *args)  # type: ignore[arg-type]

    first = trainer.Trainer.step

    def step(self: trainer.Trainer, state: trainer.TrainerState) -> object:
        first(self, state)
        times.write_text(f"{begun} {time.time()}", encoding="utf-8")
        os._exit(0)

    trainer.Trainer.__init__, trainer.Trainer.step = noted, step  # type: ignore[method-assign, assignment]
    main()


def main() -> None:
    """Measures a cold start and the warm ones after it, some times."""
    cold, warm = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(seconds(cache))
            warm.append(seconds(cache))
    record.put(
        "first_step",
        [
            {
                "architecture": "velo",
                "form": form,
                "ms_median": 1e3 * median(whole for whole, _ in found),
                "ms_from_start_of_meta_training": 1e3 * median(inside for _, inside in found),
            }
            for form, found in (("cold", cold), ("warm", warm))
        ],
    )


if __name__ == "__main__":
    child(sys.argv[1]) if sys.argv[1:] else main()
