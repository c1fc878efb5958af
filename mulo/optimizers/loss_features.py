"""VeLO's view of the loss so far: exponential averages of ten horizons, compared with one another.

Source: Metz et al. 2022 (arXiv 2211.09760) and its published implementation.
"""

from typing import NamedTuple

import jax.numpy as jnp

from mulo.types import Array

HORIZONS = 10
WARMUP = 2
"""Features are zero until more losses than this have been seen."""


class LossFeatureState(NamedTuple):
    """Averages [10], their minima so far [10], and the number of losses seen."""

    mean: Array
    minimum: Array
    seen: Array


def initial() -> LossFeatureState:
    """No loss seen."""
    highest = jnp.full(HORIZONS, 999999999999.0, jnp.float32)
    return LossFeatureState(jnp.zeros(HORIZONS, jnp.float32), highest, jnp.int32(0))


def update(state: LossFeatureState, loss: Array, num_steps: Array) -> tuple[LossFeatureState, Array]:
    """Takes in one loss and returns the nine features, each within [−1, 1]; the arguments are float32."""
    horizons = 10 ** jnp.linspace(1.0, jnp.log10(num_steps), HORIZONS, dtype=jnp.float32)
    decays = jnp.exp(-1 / horizons)
    seen = state.seen + 1
    remaining = 1 - decays ** seen.astype(jnp.float32)
    # Old means under the new correction, as published: it keeps one spike from taking over the averages.
    ceiling = 2 * jnp.abs(jnp.max(state.mean / remaining))
    loss = jnp.where(state.seen == 0, loss, jnp.minimum(loss, ceiling))
    mean = decays * state.mean + (1 - decays) * loss
    corrected = mean / remaining
    minimum = jnp.minimum(state.minimum, corrected)
    return LossFeatureState(mean, minimum, seen), _features(corrected, minimum, seen)


def _features(corrected: Array, minimum: Array, seen: Array) -> Array:
    gap = corrected[:-1] - minimum[:-1]
    longer = jnp.maximum(1e-8, corrected[1:] - minimum[:-1])
    return jnp.where(seen <= WARMUP, 0.0, jnp.clip(gap / longer - 1, -1, 1))
