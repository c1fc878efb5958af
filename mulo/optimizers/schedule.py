"""Learning rates that change over a training."""

import jax.numpy as jnp
import optax

from mulo.types import Array


def warmup(peak: Array | float, num_steps: Array, fraction: float) -> optax.Schedule:
    """A linear rise to `peak` over a share of the steps, which is the rate from there on."""

    def rate(step: Array) -> Array:
        rising = (jnp.asarray(step, jnp.float32) + 1) / jnp.maximum(fraction * num_steps, 1)
        return peak * jnp.minimum(rising, 1)

    return rate


def warmup_cosine(peak: Array | float, num_steps: Array, fraction: float, final: float) -> optax.Schedule:
    """A linear rise to `peak` followed by a cosine to `final` of it at `num_steps`."""
    rising, length = warmup(1.0, num_steps, fraction), fraction * num_steps

    def rate(step: Array) -> Array:
        step = jnp.asarray(step, jnp.float32)
        progress = jnp.clip((step - length) / jnp.maximum(num_steps - length, 1), 0, 1)
        falling = final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return peak * jnp.where(step < length, rising(step), falling)

    return rate
