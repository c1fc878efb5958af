"""Schedule-free AdamW: a constant rate with warm-up, gradients at an interpolation, the average as its result.

Defazio et al. 2024 (arXiv 2405.15682), as optax.contrib has it. The multipliers act inside its base optimizer, on z:
the average and the interpolation follow from z, and are no updates of their own to be scaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mulo.config.settings import setting
from mulo.optimizers.base import Baseline, Look

if TYPE_CHECKING:
    from optax import GradientTransformationExtraArgs as Transformation

    from mulo.types import Array, Multipliers, Params, Theta


@dataclass(frozen=True)
class ScheduleFree(Baseline):
    """Schedule-free AdamW; `b1` interpolates between the average and z, and `evaluation_params` gives the average."""

    looks: ClassVar[Mapping[str, Look]] = {"schedule_free_mup": Look("µSchedule-free", "#5254A3", "8", "mup")}
    scales_inside: ClassVar[bool] = True

    name: str = "schedule_free_mup"
    architecture: str = setting("schedule_free", choices=("schedule_free",))
    b1: float = setting(0.9, above=0, below=1)
    warmup_fraction: float = setting(0.05, low=0, below=1)
    """Share of the training over which the learning rate rises; it stays there to the end."""

    def rule(self, theta: "Theta", num_steps: "Array", multipliers: "Multipliers") -> "Transformation":
        """Adam without momentum of its own is the base."""
        import optax
        from optax import contrib

        from mulo.optimizers.scaling import decayed_weights, scaled, scaled_epsilon
        from mulo.optimizers.schedule import warmup

        rate = warmup(theta["learning_rate"], num_steps, self.warmup_fraction)
        base = optax.chain(
            scaled_epsilon(multipliers),
            optax.scale_by_adam(0.0, theta["b2"], self.eps),
            decayed_weights(theta["weight_decay"], multipliers, self.power),
            optax.scale_by_learning_rate(rate),
            optax.stateless(lambda updates, params: scaled(updates, multipliers, self.power)),
        )
        return contrib.schedule_free(base, rate, theta["b1"])

    def evaluation_params(self, state: Any, params: "Params") -> "Params":
        """The averaged parameters."""
        import jax
        from optax import contrib

        from mulo.optimizers.transformation import on_visible

        is_own = lambda node: isinstance(node, contrib.ScheduleFreeState)  # noqa: E731
        own = next(node for node in jax.tree.leaves(state, is_leaf=is_own) if is_own(node))
        return on_visible(lambda visible: contrib.schedule_free_eval_params(own, visible), params)

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """Adam's second moment, and the first, which with decay 0 is the gradient; z is no moment."""
        from optax import contrib

        return {**super().moments(), contrib.ScheduleFreeState: ()}
