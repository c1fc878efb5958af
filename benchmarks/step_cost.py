"""What a training step costs: compiled FLOPs and time of one step of an MLP under each optimizer, interleaved.

`python -m benchmarks.step_cost` prints a table and writes `benchmarks/results/step_cost.json`. The pairs small_fc_mup
and small_fc_sp run with the same settings but for the parametrization: what they differ in is the price of µP.
"""

import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from mulo import randomness
from mulo.config import AdamConfig, MLPConfig, SmallFCConfig, SyntheticDataConfig, VeLOConfig
from mulo.data import load
from mulo.meta.unroll import start, unroll
from mulo.optimizers import make_optimizer
from mulo.tasks import make_tasks

ROUNDS = 15
STEPS = 5
SMALL_FC = SmallFCConfig(zero_non_finite=False)
CONTESTANTS = {
    "small_fc_sp": replace(SMALL_FC, parametrization="sp"),
    "small_fc_mup": SMALL_FC,
    "velo_sp": VeLOConfig(parametrization="sp"),
    "velo_mup": VeLOConfig(),
    "adamw": AdamConfig(),
}
RESULTS = Path(__file__).parent / "results" / "step_cost.json"


class Training:
    """One network in training, `STEPS` steps a call."""

    def __init__(self, config: Any, width: int) -> None:
        data = load(SyntheticDataConfig(shape=[784]))
        task = make_tasks(MLPConfig(width=width, batch_size=128), config.parametrization, data)[0]
        optimizer = make_optimizer(config)
        theta = optimizer.init(randomness.root(0))
        self.state = jax.jit(lambda: start(task, optimizer, theta, 100, randomness.root(1)))()
        keys = randomness.each(randomness.root(2), STEPS)

        def run(training: Any) -> Any:
            return unroll(task, optimizer, theta, training, 100, task.data, keys)[0]

        self.compiled = jax.jit(run, donate_argnums=0).lower(self.state).compile()
        self.flops = self.compiled.cost_analysis()["flops"]
        self.parameters = sum(x.size for x in jax.tree.leaves(self.state.params))
        self.times: list[float] = []

    def measure(self) -> None:
        """Times one call."""
        begun = time.perf_counter()
        self.state = jax.block_until_ready(self.compiled(self.state))
        self.times.append((time.perf_counter() - begun) / STEPS)


def rows(width: int) -> list[dict[str, Any]]:
    """One row per contestant; their calls take turns, so that a noisy moment hits all of them."""
    trainings = {name: Training(config, width) for name, config in CONTESTANTS.items()}
    for _ in range(ROUNDS):
        for training in trainings.values():
            training.measure()
    base = median(trainings["adamw"].times)
    return [
        {
            "optimizer": name,
            "width": width,
            "parameters": training.parameters,
            "flops_per_call": training.flops,
            "ms_median": 1e3 * median(training.times),
            "ms_min": 1e3 * min(training.times),
            "ratio_to_adamw": median(training.times) / base,
        }
        for name, training in trainings.items()
    ]


def main() -> None:
    """Measures all widths, prints and writes the table."""
    found = [row for width in (128, 512) for row in rows(width)]
    table = Table(*found[0])
    for row in found:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    machine = {"jax": jax.__version__, "backend": jax.default_backend(), "machine": platform.machine()}
    RESULTS.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
