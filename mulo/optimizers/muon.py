"""Muon under µP: hidden matrices move by orthogonalised momentum, everything else by NAdamW.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), as optax.contrib has it. An orthogonalised update has the
spectral norm √max(1, fan_out/fan_in) at every width, which is what µP asks of hidden matrices (Yang et al. 2023, arXiv
2310.17813): their multiplier is 1. Which matrices are hidden is told by their role, not by their rank: embeddings,
input and output matrices, biases and gains are NAdamW's (as in optax), with the multipliers of elementwise updates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mulo.config.settings import setting
from mulo.cost import Cost
from mulo.optimizers.base import Baseline, Look, Scheduled, Shape
from mulo.optimizers.celo2 import newton_schulz

if TYPE_CHECKING:
    from optax import GradientTransformationExtraArgs as Transformation

    from mulo.types import Array, Multiplier, Multipliers, Theta


@dataclass(frozen=True)
class Muon(Scheduled, Baseline):
    """Muon on hidden matrices, NAdamW (`b1`, `b2`, `eps`) on the rest; weight decay on all."""

    looks: ClassVar[Mapping[str, Look]] = {"muon_mup": Look("µMuon", "#AD494A", "X", "mup")}
    tunable: ClassVar[tuple[str, ...]] = (*Baseline.tunable, "momentum", "adam_mult")

    name: str = "muon_mup"
    architecture: str = setting("muon", choices=("muon",))
    learning_rate: float = setting(2e-2, low=0)
    momentum: float = setting(0.95, low=0, below=1)
    """Of hidden matrices, Nesterov's."""
    adam_mult: float = setting(1.0, low=0)
    """Learning rate of NAdamW on all other parameters, in units of `learning_rate`."""

    def rule(self, theta: "Theta", num_steps: "Array", multipliers: "Multipliers") -> "Transformation":
        """Both kinds of parameters follow one schedule."""
        import optax

        from mulo.optimizers.orthogonalized import nesterov, orthogonalized, roles
        from mulo.optimizers.scaling import decayed_weights, scaled_epsilon

        hidden = optax.chain(nesterov(theta["momentum"]), orthogonalized(multipliers))
        adam = optax.chain(
            scaled_epsilon(multipliers),
            optax.scale_by_adam(theta["b1"], theta["b2"], self.eps, nesterov=True),
            optax.scale(theta["adam_mult"]),
        )
        return optax.chain(
            optax.multi_transform({True: hidden, False: adam}, lambda params: roles(params, multipliers, "hidden")),
            decayed_weights(theta["weight_decay"], multipliers, self.power),
            optax.scale_by_learning_rate(self.scheduled(theta["learning_rate"], num_steps)),
        )

    def power(self, multiplier: "Multiplier", rank: int) -> float:
        """1 on hidden matrices whatever their multiplier is."""
        return 0.0 if multiplier.role == "hidden" else 1.0

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """The momentum of hidden matrices, and Adam's."""
        from mulo.optimizers.orthogonalized import MomentumState

        return {**super().moments(), MomentumState: ("momentum",)}

    def cost(self, shapes: Sequence[Shape]) -> Cost:
        """As if all matrices were hidden: which are is not told by shapes."""
        return sum((newton_schulz(shape) for shape in shapes if len(shape) >= 2), super().cost(shapes))

    def scratch(self, sizes: Sequence[int], cpu: bool, native: bool) -> float:
        """Newton–Schulz at the largest tensor."""
        return super().scratch(sizes, cpu, native) + 16 * max(sizes)
