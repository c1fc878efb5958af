"""AdamW, NAdamW and, under µP, µAdam.

µAdam is Adam under µP (Yang et al. 2022, arXiv 2203.03466): the learning rate of hidden matrices scales with 1/fan_in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mulo.config.settings import setting
from mulo.config.tasks import PARAMETRIZATIONS
from mulo.optimizers.base import Baseline, Look, Scheduled

if TYPE_CHECKING:
    from optax import GradientTransformationExtraArgs as Transformation

    from mulo.types import Array, Multipliers, Theta


@dataclass(frozen=True)
class AdamW(Scheduled, Baseline):
    """optax's AdamW (with `nesterov` NAdamW): its whole update, weight decay included, is scaled by the multipliers."""

    looks: ClassVar[Mapping[str, Look]] = {
        "adamw": Look("AdamW", "#4D4D4D", "P", "sp"),
        "mu_adam": Look("µAdam", "#009E73", "D", "mup"),
        "nadamw_mup": Look("µNAdamW", "#8C6D31", "<", "mup"),
    }

    name: str = "adamw"
    architecture: str = setting("adamw", choices=("adamw",))
    parametrization: str = setting("sp", choices=PARAMETRIZATIONS)
    nesterov: bool = False
    """Nesterov's momentum (Dozat 2016): NAdamW."""

    def rule(self, theta: "Theta", num_steps: "Array", multipliers: "Multipliers") -> "Transformation":
        """ε and the weight decay coefficient have the factors that CompleteP gives them."""
        import optax

        from mulo.optimizers.scaling import decayed_weights, scaled_epsilon

        return optax.chain(
            scaled_epsilon(multipliers),
            optax.scale_by_adam(theta["b1"], theta["b2"], self.eps, nesterov=self.nesterov),
            decayed_weights(theta["weight_decay"], multipliers, self.power),
            optax.scale_by_learning_rate(self.scheduled(theta["learning_rate"], num_steps)),
        )
