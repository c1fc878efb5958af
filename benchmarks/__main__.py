"""`python -m benchmarks [names]`: runs benchmarks, each in a process of its own, and draws the table.

Names: update, training_step, meta_training, devices, first_step, which all run where none is given; and tpu_program,
which needs libtpu.
"""

import subprocess
import sys

from benchmarks import table

NAMES = ("update", "training_step", "meta_training", "devices", "first_step")


def main(names: list[str]) -> int:
    """Runs the benchmarks named; their rows replace those of before."""
    known = (*NAMES, "tpu_program")
    if unknown := sorted(set(names) - set(known)):
        print(f"benchmarks: there is no {', '.join(unknown)}; there are {', '.join(known)}.", file=sys.stderr)
        return 2
    for name in names or NAMES:
        print(f"Running {name} …", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
    table.main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
