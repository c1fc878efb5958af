"""The update of learned optimizers: the straightforward form, mulo's JAX form and native kernel, and Adam.

Times one compiled update of an MLP 784–w–w–w–10 in place, contestants taking turns of a few consecutive calls; with
them google/learned_optimization itself, where it is installed (`benchmarks.original`). The roofline is the larger of
arithmetic over the measured speed of a large matrix product and of memory traffic over the measured speed of a
streaming pass. `python -m benchmarks update`
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import original, record
from benchmarks.contestant import Contestant, gradients_of, network
from benchmarks.original import Original
from benchmarks.record import Row
from benchmarks.straightforward import traced_as
from mulo import randomness
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO

WIDTHS = (128, 512, 1024, 2048)
TURNS = 3
PUBLISHED_VELO = VeLO(
    name="velo_sp", parametrization="sp", lstm_hidden_size=512, param_inits=256, interp_mult=100, param_scale_mult=True
)
"""As large as the VeLO that was meta-trained on everything."""
LEARNED = (
    SmallFC(),
    SmallFC(hidden_size=8),
    SmallFC(hidden_size=4),
    VeLO(),
    PUBLISHED_VELO,
    Celo2(),
)
FORMS = ("straightforward", "jax", "native")
ORIGINALS = (SmallFC(), PUBLISHED_VELO)
"""Of which `benchmarks.original` has the like."""


def update_of(config: Any) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]:
    """A step `(state, gradients) → state` under fresh θ, and how its state starts: the optimizer's, the parameters."""
    optimizer = config
    multipliers = {f"layer{i}/{name}": 1.0 for i in range(4) for name in ("kernel", "bias")}
    transform = optimizer.transform(optimizer.init(randomness.root(0)), 100, multipliers)

    def step(carry: Any, gradients: Any) -> Any:
        state, params = carry
        updates, state = transform.update(gradients, state, params, value=jnp.float32(1))
        return state, jax.tree.map(jnp.add, params, updates)

    return step, lambda params: (transform.init(params), params)


def contestant(config: Any, width: int, form: str) -> Contestant:
    """One of ours, or optax's Adam."""
    params, (step, begin) = network(width), update_of(config)
    with traced_as(form):
        return Contestant(step, begin(params), gradients_of(params))


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
    cost = config.entry_cost()
    return parameters * max(cost.flops / peak["peak_gflops"], cost.bytes / peak["memory_gb_per_s"]) / 1e6


def compared(config: Any, width: int, peak: Row, adam: Contestant) -> list[Row]:
    """One row per form of one learned optimizer, and one of the original code where there is the like of it."""
    contestants: dict[str, Contestant | Original] = {form: contestant(config, width, form) for form in FORMS}
    interpreter = original.python() if config in ORIGINALS else None
    if interpreter:
        contestants[original.FORM] = Original(interpreter, config.architecture, width)
    for _ in range(TURNS):
        for one in (*contestants.values(), adam):
            one.turn()
    floor, base = floor_ms(config, adam.parameters, peak), contestants["straightforward"].ms
    rows = [_row(config, form, width, one, adam, base) for form, one in contestants.items()]
    for one in contestants.values():
        if isinstance(one, Original):
            one.close()
    return [row | {"roofline_fraction": floor / row["ms_median"]} for row in rows]


def _row(config: Any, form: str, width: int, one: Contestant | Original, adam: Contestant, base: float | None) -> Row:
    lstm = [getattr(config, key) for key in ("lstm_hidden_size", "param_inits") if hasattr(config, key)]
    return {
        "architecture": config.architecture,
        "form": form,
        "hidden": getattr(config, "hidden_size", None),
        "lstm": "/".join(map(str, lstm)) or None,
        "width": width,
        "parameters": one.parameters,
        "ms_median": one.ms,
        "parameters_per_s": 1e3 * one.parameters / one.ms,
        "ratio_to_straightforward": base and base / one.ms,
        "ratio_to_adam": one.ms / adam.ms,
        "scratch_bytes_per_parameter": one.scratch,
        "compile_s": one.compile_seconds,
        **({"version": one.version} if isinstance(one, Original) else {}),
    }


def main() -> None:
    """Measures all widths."""
    if original.python() is None:
        print(original.MISSING, flush=True)
    peak = record.hardware() | speeds()
    record.put("machine", [peak])
    rows = []
    for width in WIDTHS:
        config = AdamW()
        adam = contestant(config, width, "optax")
        for learned in LEARNED:
            rows += compared(learned, width, peak, adam)
        rows.append(_row(config, "optax", width, adam, adam, None))
        print(f"update: width {width} done", flush=True)
    record.put("update", rows)


if __name__ == "__main__":
    main()
