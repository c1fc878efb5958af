"""The outer optimizer: AdamW on θ with warm-up and cosine decay, clipped before or after."""

import optax

from mulo.config import OuterConfig


def schedule(config: OuterConfig) -> optax.Schedule:
    """Linear from `warmup_start` to `learning_rate`, then cosine to `final_learning_rate` at step `decay_steps`."""
    return optax.warmup_cosine_decay_schedule(
        config.warmup_start,
        config.learning_rate,
        config.warmup_steps,
        config.decay_steps,
        config.final_learning_rate,
    )


def outer_optimizer(config: OuterConfig) -> optax.GradientTransformation:
    """AdamW; `clip=gradient` bounds the meta-gradient before it, `clip=update` the update after it."""
    adamw = optax.adamw(schedule(config), weight_decay=config.weight_decay)
    clip = optax.clip_by_global_norm(config.clip_norm)
    order = {"none": [adamw], "gradient": [clip, adamw], "update": [adamw, clip]}
    return optax.chain(*order[config.clip])
