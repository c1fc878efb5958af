"""What a whole training step costs: compiled FLOPs and time, forward, backward and update, beside optax's AdamW.

small_fc under µP and SP run with the same settings but for the parametrization: what they differ in is the price of
µP. At width 1024 and batch 4096, the paper's setting, the update is small beside the network's own arithmetic.
`python -m benchmarks training_step`
"""

import time
from dataclasses import replace
from statistics import median
from typing import Any

import jax

from benchmarks import record
from benchmarks.contestant import in_place
from benchmarks.record import Row
from mulo import randomness
from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO
from mulo.tasks import make_tasks
from mulo.unroll import start, unroll

SMALL_FC = SmallFC(zero_non_finite=False)
LEARNED = {
    "small_fc_sp": replace(SMALL_FC, parametrization="sp"),
    "small_fc_mup": SMALL_FC,
    "velo_sp": VeLO(parametrization="sp"),
    "velo_mup": VeLO(),
    "celo2_mup": Celo2(),
}
ADAM = AdamW()
SETTINGS = ((128, 128, 15), (512, 128, 15), (1024, 4096, 4))
"""Width, batch size, rounds."""
STEPS = 5


class Training:
    """One network in training, `STEPS` steps a call."""

    def __init__(self, name: str, config: Any, width: int, batch_size: int) -> None:
        self.name, self.config = name, config
        data = load(SyntheticDataConfig(shape=[784]))
        task = make_tasks(MLPConfig(width=width, batch_size=batch_size), config.parametrization, data)[0]
        optimizer = config
        theta = optimizer.init(randomness.root(0))
        self.state = jax.jit(lambda: start(task, optimizer, theta, 100, randomness.root(1)))()
        # The same batch at every step: what drawing one costs belongs to no optimizer.
        keys = jax.random.wrap_key_data(jax.numpy.tile(jax.random.key_data(randomness.root(2)), (STEPS, 1)))

        def run(training: Any, _: Any) -> Any:
            return unroll(task, optimizer, theta, training, 100, task.data, keys)[0]

        self.compiled = in_place(run, self.state, None).compile()
        self.flops = self.compiled.cost_analysis()["flops"]
        self.parameters = sum(x.size for x in jax.tree.leaves(self.state.params))
        self.times: list[float] = []

    def measure(self) -> None:
        """Times one call."""
        begun = time.perf_counter()
        self.state = jax.block_until_ready(self.compiled(self.state, None))
        self.times.append((time.perf_counter() - begun) / STEPS)


def compared(width: int, batch_size: int, rounds: int) -> list[Row]:
    """One row per optimizer; their calls take turns, so that a noisy moment hits all of them."""
    trainings = [Training(name, config, width, batch_size) for name, config in (LEARNED | {"adamw": ADAM}).items()]
    for _ in range(rounds):
        for training in trainings:
            training.measure()
    base = median(trainings[-1].times)
    return [
        {
            "architecture": training.name,
            "hidden": getattr(training.config, "hidden_size", None),
            "width": width,
            "batch_size": batch_size,
            "parameters": training.parameters,
            "ms_median": 1e3 * median(training.times),
            "ratio_to_adam": median(training.times) / base,
            "flops_per_call": training.flops,
        }
        for training in trainings
    ]


def main() -> None:
    """Measures all settings."""
    record.put("training_step", [row for setting in SETTINGS for row in compared(*setting)])


if __name__ == "__main__":
    main()
