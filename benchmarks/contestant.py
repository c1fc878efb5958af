"""What benchmarks of the update time: one compiled step whose state is updated in place, in turns with others.

Imports nothing of mulo, so that other code's environment can run it, too (`benchmarks.original`).
"""

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

CALLS = 4
"""Timed in each turn."""


def network(width: int) -> dict[str, dict[str, jax.Array]]:
    """Parameters of an MLP 784–w–w–w–10."""
    sizes, key = (784, width, width, width, 10), jax.random.key(0)
    return {
        f"layer{i}": {"kernel": jax.random.normal(jax.random.fold_in(key, i), (a, b)) / a**0.5, "bias": jnp.zeros(b)}
        for i, (a, b) in enumerate(pairwise(sizes))
    }


def gradients_of(params: Any) -> Any:
    """As large as gradients are, and never twice the same number."""
    return jax.tree.map(lambda p: 1e-3 * jnp.cos(1e3 * p), params)


def in_place(step: Callable[[Any, Any], Any], state: Any, gradients: Any) -> Any:
    """`step(state, gradients)` lowered with its state donated; arrays or their shapes will do.

    Donated buffers are given to results in their order. A step that returns what it was given in another order still
    compiles, with copies of all of it.

    Raises:
        ValueError: the step returns another tree than it was given.
    """
    given, made = (jax.tree.map(_kind, tree) for tree in (state, jax.eval_shape(step, state, gradients)))
    if given != made:
        raise ValueError(f"The step must return the state as it was given, in the same order: {given} became {made}.")
    return jax.jit(step, donate_argnums=0).lower(state, gradients)


def _kind(x: jax.Array) -> str:
    return f"{x.dtype}{list(x.shape)}"


def _kept(state: Any) -> list[jax.Array]:
    return [x for x in jax.tree.leaves(state) if not x.is_deleted()]


class Contestant:
    """One compiled update with its state, which holds the parameters, too."""

    def __init__(self, step: Callable[[Any, Any], Any], state: Any, gradients: Any) -> None:
        self.state, self.gradients = state, gradients
        lowered = in_place(step, state, gradients)
        begun = time.perf_counter()
        self._compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - begun
        self.parameters = sum(x.size for x in jax.tree.leaves(gradients))
        self.scratch = self._compiled.memory_analysis().temp_size_in_bytes / self.parameters
        """Bytes per parameter."""
        self.times: list[float] = []
        self._call()
        # Counters that a program does not read are not donated.
        kept, whole = (sum(x.nbytes for x in jax.tree.leaves(tree)) for tree in (_kept(state), self.state))
        if kept > 0.01 * whole:
            raise RuntimeError(
                f"The update kept {kept} of the {whole} bytes donated: its times would be those of copies."
            )

    @property
    def ms(self) -> float:
        """Median of all calls timed so far."""
        return 1e3 * median(self.times)

    def turn(self) -> None:
        """Times some consecutive calls; the first finds the caches as others left them and does not count."""
        self._call()
        for _ in range(CALLS):
            begun = time.perf_counter()
            self._call()
            self.times.append(time.perf_counter() - begun)

    def _call(self) -> None:
        self.state = jax.block_until_ready(self._compiled(self.state, self.gradients))
