"""AdamW and µAdam: optax's AdamW with its update scaled by the multipliers of the parametrization.

µAdam is Adam under µP (Yang et al. 2022, arXiv 2203.03466): the learning rate of hidden matrices scales with 1/fan_in.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from mulo.config import AdamConfig
from mulo.optimizers.scaling import decayed_weights, scaled_epsilon
from mulo.optimizers.schedule import learning_rate
from mulo.optimizers.transformation import at_least_one, under_multipliers
from mulo.types import Array, Multipliers, Theta


@dataclass(frozen=True)
class Adam:
    """The baseline's settings; θ holds the ones that may differ between vmapped trainings."""

    config: AdamConfig

    def init(self, key: Array) -> Theta:
        """The configured learning rate, decays and weight decay as scalars; `key` plays no role."""
        del key
        names = ("learning_rate", "b1", "b2", "weight_decay")
        return {name: jnp.float32(getattr(self.config, name)) for name in names}

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """AdamW, computed in float32, whose whole update, weight decay included, is scaled by the multipliers.

        ε and the weight decay coefficient have the factors that CompleteP gives them.
        """
        num_steps = at_least_one(num_steps, self.config.name)
        chain = optax.chain(
            scaled_epsilon(multipliers),
            optax.scale_by_adam(theta["b1"], theta["b2"], self.config.eps),
            decayed_weights(theta["weight_decay"], multipliers),
            optax.scale_by_learning_rate(learning_rate(self.config, theta["learning_rate"], num_steps)),
        )
        return under_multipliers(chain, multipliers, self.config)
