"""The update of learned optimizers: the straightforward form, mulo's JAX form and native kernel, and Adam.

`python -m benchmarks.update` times one compiled update of an MLP 784–w–w–w–10 with donated state, contestants taking
turns of a few consecutive calls, and writes `benchmarks/results/update.json`. The roofline is the larger of arithmetic
over the measured speed of a large matrix product and of memory traffic over the measured speed of a streaming pass.
"""

import json
import platform
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from benchmarks import straightforward
from mulo import randomness
from mulo.config import AdamConfig, Celo2Config, SmallFCConfig, VeLOConfig
from mulo.optimizers import make_optimizer, native, per_parameter_mlp
from mulo.planning.updates import per_entry

WIDTHS = (128, 512, 1024, 2048)
TURNS, CALLS = 3, 4
LEARNED = {
    "small_fc h32": SmallFCConfig(),
    "small_fc h8": SmallFCConfig(hidden_size=8),
    "small_fc h4": SmallFCConfig(hidden_size=4),
    "velo h4": VeLOConfig(),
    "celo2 h8": Celo2Config(),
}
RESULTS = Path(__file__).parent / "results" / "update.json"


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

        own = per_parameter_mlp.apply, native.available
        try:
            if form == "straightforward":
                per_parameter_mlp.apply = straightforward.apply
            if form != "native":
                native.available = lambda: False  # type: ignore[assignment]
            lowered = jax.jit(update, donate_argnums=(1, 2)).lower(self.gradients, self.state, self.params)
        finally:
            per_parameter_mlp.apply, native.available = own
        begun = time.perf_counter()
        self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - begun
        self.parameters = sum(x.size for x in jax.tree.leaves(self.params))
        self.scratch = self.compiled.memory_analysis().temp_size_in_bytes / self.parameters
        self.times: list[float] = []

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


def machine() -> dict[str, Any]:
    """Peak arithmetic and memory speed as XLA reaches them here."""
    square, long = jnp.ones((2048, 2048)), jnp.ones(2**25)

    def passes(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 10, lambda i, x: 1.0001 * x + i, x)

    return {
        "jax": jax.__version__,
        "machine": platform.machine(),
        "peak_gflops": best_rate(lambda a: a @ a, 2 * 2048**3 / 1e9, square),
        "memory_gb_per_s": best_rate(passes, 10 * 2 * long.nbytes / 1e9, long),
    }


def floor_ms(config: Any, parameters: int, speeds: dict[str, Any]) -> float:
    """The least time that arithmetic and memory traffic allow."""
    cost = per_entry(config)
    return 1e3 * parameters * max(cost.flops / speeds["peak_gflops"], cost.bytes / speeds["memory_gb_per_s"]) / 1e9


def rows(width: int, speeds: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per optimizer and form at this width."""
    forms = [(name, config, form) for name, config in LEARNED.items() for form in ("straightforward", "jax", "native")]
    forms.append(("adam", AdamConfig(), "optax"))
    found = []
    for name in dict.fromkeys(name for name, _, _ in forms):
        contestants = {form: (Contestant(config, width, form), config) for n, config, form in forms if n == name}
        for _ in range(TURNS):
            for contestant, _ in contestants.values():
                contestant.turn()
        base = contestants.get("straightforward")
        for form, (contestant, config) in contestants.items():
            ms = 1e3 * median(contestant.times)
            found.append(
                {
                    "optimizer": name,
                    "width": width,
                    "form": form,
                    "ms": ms,
                    "million_parameters_per_s": contestant.parameters / ms / 1e3,
                    "times_straightforward": 1e3 * median(base[0].times) / ms if base else None,
                    "of_roofline": floor_ms(config, contestant.parameters, speeds) / ms if base else None,
                    "scratch_bytes_per_parameter": contestant.scratch,
                    "compile_s": contestant.compile_seconds,
                }
            )
    return found


def main() -> None:
    """Measures all widths, prints and writes the table."""
    speeds = machine()
    found = [row for width in WIDTHS for row in rows(width, speeds)]
    table = Table(*found[0])
    for row in found:
        cells = ("" if x is None else f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values())
        table.add_row(*cells)
    console = Console(width=160)
    console.print(speeds, table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": speeds, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
