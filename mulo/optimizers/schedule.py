"""Learning rates that change over a training."""

import jax.numpy as jnp
import optax

from mulo.config import AdamConfig, Celo2Config
from mulo.types import Array


def learning_rate(config: AdamConfig | Celo2Config, peak: Array | float, num_steps: Array) -> optax.Schedule:
    """Constant, or a linear rise to `peak` followed by a cosine to `final_fraction` of it at `num_steps`."""
    if config.schedule == "constant":
        return optax.constant_schedule(peak)
    warmup, final = config.warmup_fraction * num_steps, config.final_fraction

    def warmup_cosine(step: Array) -> Array:
        step = jnp.asarray(step, jnp.float32)
        rising = (step + 1) / jnp.maximum(warmup, 1)
        progress = jnp.clip((step - warmup) / jnp.maximum(num_steps - warmup, 1), 0, 1)
        falling = final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return peak * jnp.where(step < warmup, jnp.minimum(rising, 1), falling)

    return warmup_cosine
