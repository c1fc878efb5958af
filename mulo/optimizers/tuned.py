"""Tuning of learned optimizers: settings beside the weights in θ, so that several can be tried in one program."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import optax

from mulo.optimizers import Optimizer, with_state_dtype
from mulo.types import Array, Multipliers, Params, Theta


@dataclass(frozen=True)
class Tuned:
    """A learned optimizer some of whose settings are in θ, as all that is tuned of a baseline is.

    Its θ is `{"weights": θ of the optimizer, "settings": {name: scalar}}`.
    """

    optimizer: Optimizer
    state_dtype: str = "float32"
    """In which moments are kept."""

    def init(self, key: Array) -> Theta:
        """Fresh weights, and the configured settings."""
        own = {name: getattr(self.optimizer, name) for name in self.optimizer.tunable}
        return self.theta(self.optimizer.init(key), own)

    @staticmethod
    def theta(weights: Theta, settings: Mapping[str, float]) -> Theta:
        """The θ with these settings; what it does not name stays as it is configured."""
        return {"weights": weights, "settings": {name: jnp.float32(value) for name, value in settings.items()}}

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """As the optimizer's under these settings."""
        chosen = with_state_dtype(replace(self.optimizer, **theta["settings"]), self.state_dtype)
        return chosen.transform(theta["weights"], num_steps, multipliers)

    def evaluation_params(self, state: Any, params: Params) -> Params:
        """As the optimizer's."""
        return with_state_dtype(self.optimizer, self.state_dtype).evaluation_params(state, params)
