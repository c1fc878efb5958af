"""The update of learned optimizers: the straightforward form, mulo's JAX form and native kernel, and Adam.

Times one compiled update of an MLP 784–w–w–w–10 with donated state, contestants taking turns of a few consecutive
calls. The roofline is the larger of arithmetic over the measured speed of a large matrix product and of memory
traffic over the measured speed of a streaming pass. `python -m benchmarks update`
"""

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import record
from benchmarks.record import Row
from benchmarks.straightforward import traced_as
from mulo import randomness
from mulo.config import AdamConfig, Celo2Config, SmallFCConfig, VeLOConfig
from mulo.optimizers import make_optimizer
from mulo.planning.updates import per_entry

WIDTHS = (128, 512, 1024, 2048)
TURNS, CALLS = 3, 4
LEARNED = (
    SmallFCConfig(),
    SmallFCConfig(hidden_size=8),
    SmallFCConfig(hidden_size=4),
    VeLOConfig(),
    Celo2Config(),
)
FORMS = ("straightforward", "jax", "native")


def network(width: int) -> dict[str, dict[str, jax.Array]]:
    """Parameters of an MLP 784–w–w–w–10."""
    sizes, key = (784, width, width, width, 10), jax.random.key(0)
    return {
        f"layer{i}": {"kernel": jax.random.normal(jax.random.fold_in(key, i), (a, b)) / a**0.5, "bias": jnp.zeros(b)}
        for i, (a, b) in enumerate(pairwise(sizes))
    }


class Contestant:
    """One compiled update with its state."""

    def __init__(self, config: Any, width: int, form: str) -> None:
        self.config, self.form = config, form
        self.params = network(width)
        self.gradients = jax.tree.map(lambda p: 1e-3 * jnp.cos(1e3 * p), self.params)
        optimizer = make_optimizer(config)
        theta = optimizer.init(randomness.root(0))
        multipliers = {f"layer{i}/{name}": 1.0 for i in range(4) for name in ("kernel", "bias")}
        transform = optimizer.transform(theta, 100, multipliers)
        self.state = transform.init(self.params)

        def update(gradients: Any, state: Any, params: Any) -> Any:
            updates, state = transform.update(gradients, state, params, value=jnp.float32(1))
            return jax.tree.map(jnp.add, params, updates), state

        with traced_as(form):
            lowered = jax.jit(update, donate_argnums=(1, 2)).lower(self.gradients, self.state, self.params)
        begun = time.perf_counter()
        self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - begun
        self.parameters = sum(x.size for x in jax.tree.leaves(self.params))
        self.scratch = self.compiled.memory_analysis().temp_size_in_bytes / self.parameters
        self.times: list[float] = []

    @property
    def ms(self) -> float:
        """Median of all calls timed so far."""
        return 1e3 * median(self.times)

    def turn(self) -> None:
        """Times some consecutive calls; the first finds the caches as others left them and does not count."""
        for call in range(CALLS + 1):
            begun = time.perf_counter()
            self.params, self.state = jax.block_until_ready(self.compiled(self.gradients, self.state, self.params))
            if call:
                self.times.append(time.perf_counter() - begun)


def best_rate(f: Callable[..., Any], amount: float, *args: Any) -> float:
    """Amount per second of the fastest of some calls."""
    compiled = jax.jit(f).lower(*args).compile()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - begun)
    return amount / min(times)


def speeds() -> Row:
    """Peak arithmetic and memory speed as XLA reaches them here."""
    square, long = jnp.ones((2048, 2048)), jnp.ones(2**25)

    def passes(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 10, lambda i, x: 1.0001 * x + i, x)

    return {
        "peak_gflops": best_rate(lambda a: a @ a, 2 * 2048**3 / 1e9, square),
        "memory_gb_per_s": best_rate(passes, 10 * 2 * long.nbytes / 1e9, long),
    }


def floor_ms(config: Any, parameters: int, peak: Row) -> float:
    """The least time that arithmetic and memory traffic allow."""
    cost = per_entry(config)
    return parameters * max(cost.flops / peak["peak_gflops"], cost.bytes / peak["memory_gb_per_s"]) / 1e6


def compared(config: Any, width: int, peak: Row, adam: Contestant) -> list[Row]:
    """One row per form of one learned optimizer."""
    contestants = [Contestant(config, width, form) for form in FORMS]
    for _ in range(TURNS):
        for contestant in (*contestants, adam):
            contestant.turn()
    floor = floor_ms(config, adam.parameters, peak)
    return [_row(c, width, adam, contestants[0].ms) | {"roofline_fraction": floor / c.ms} for c in contestants]


def _row(contestant: Contestant, width: int, adam: Contestant, straightforward_ms: float | None = None) -> Row:
    ms = contestant.ms
    return {
        "architecture": contestant.config.architecture,
        "form": contestant.form,
        "hidden": getattr(contestant.config, "hidden_size", None),
        "width": width,
        "parameters": contestant.parameters,
        "ms_median": ms,
        "parameters_per_s": 1e3 * contestant.parameters / ms,
        "ratio_to_straightforward": straightforward_ms and straightforward_ms / ms,
        "ratio_to_adam": ms / adam.ms,
        "scratch_bytes_per_parameter": contestant.scratch,
        "compile_s": contestant.compile_seconds,
    }


def main() -> None:
    """Measures all widths."""
    peak = record.hardware() | speeds()
    record.put("machine", [peak])
    rows = []
    for width in WIDTHS:
        adam = Contestant(AdamConfig(), width, "optax")
        for config in LEARNED:
            rows += compared(config, width, peak, adam)
        rows.append(_row(adam, width, adam))
        print(f"update: width {width} done", flush=True)
    record.put("update", rows)


if __name__ == "__main__":
    main()
