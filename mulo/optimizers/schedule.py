"""Learning rates that change over a training."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from mulo.types import Array


def warmup(peak: Array | float, num_steps: Array, fraction: float) -> optax.Schedule:
    """A linear rise to `peak` over a share of the steps, which is the rate from there on."""

    def rate(step: Array) -> Array:
        rising = (jnp.asarray(step, jnp.float32) + 1) / jnp.maximum(fraction * num_steps, 1)
        return peak * jnp.minimum(rising, 1)

    return rate


def warmup_then(
    fall: str, peak: Array | float, num_steps: Array, fraction: float, final: float, stable: float
) -> optax.Schedule:
    """A linear rise to `peak`, then a fall to `final` of it at `num_steps`.

    Args:
        fall: `warmup_cosine`, `warmup_linear`, or `warmup_stable_decay`, which is linear too and begins late.
        peak: the highest rate.
        num_steps: length of the training.
        fraction: share of the training over which the rate rises.
        final: last rate, as a share of the highest.
        stable: share of the training, warm-up included, after which `warmup_stable_decay` falls.
    """
    rising, length = warmup(1.0, num_steps, fraction), fraction * num_steps
    begin = jnp.maximum(length, stable * num_steps) if fall == "warmup_stable_decay" else length

    def rate(step: Array) -> Array:
        step = jnp.asarray(step, jnp.float32)
        progress = jnp.clip((step - begin) / jnp.maximum(num_steps - begin, 1), 0, 1)
        falling = final + (1 - final) * _FALLS[fall](progress)
        return peak * jnp.where(step < length, rising(step), falling)

    return rate


def _cosine(progress: Array) -> Array:
    return 0.5 * (1 + jnp.cos(jnp.pi * progress))


def _linear(progress: Array) -> Array:
    return 1 - progress


_FALLS: dict[str, Callable[[Array], Array]] = {
    "warmup_cosine": _cosine,
    "warmup_linear": _linear,
    "warmup_stable_decay": _linear,
}
