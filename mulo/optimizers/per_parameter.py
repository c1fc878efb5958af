"""What learned optimizers have in common: the settings and costs of a small MLP applied to every parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from mulo.config.settings import setting
from mulo.cost import Cost
from mulo.errors import ConfigError
from mulo.optimizers.base import Scheduled, Shape, entries

if TYPE_CHECKING:
    import optax
    from optax import GradientTransformationExtraArgs as Transformation

    from mulo.types import Array, Multipliers, Theta

REFERENCE_STEPS = 1000
"""Length of a training for which `step_mult` is meant as it is."""


@dataclass(frozen=True)
class PerParameterMLP(Scheduled):
    """An optimizer whose update is a small MLP's, applied to every parameter.

    Most features vary by row, column or time alone and enter the MLP once per row, column or tensor; what remains per
    entry is counted. Features themselves, tens of operations per entry, are not: hidden layers are hundreds or more.
    """

    tunable: ClassVar[tuple[str, ...]] = ("step_mult",)
    full_features: ClassVar[int]
    """Features that vary along both dimensions of a matrix: what must be multiplied for every entry."""

    hidden_size: int = setting(32, low=1, high=1024)
    """Units of each of the MLP's two hidden layers."""
    step_mult: float = setting(0.001, above=0)
    """λ1, the size of a step."""
    horizon_exponent: float = setting(0.0, low=0, high=1)
    """λ1 is multiplied by (1000 / number of steps) to this power: longer trainings take smaller steps."""
    start: str = setting("random", choices=("random", "adam"))
    """Of meta-training. `adam`: the update is m / √v, of RMS 1 where steps are normalised and else 3, plus a tenth of a
    random network's."""
    scale_free: bool = False
    """Features are read off the gradient in units of its own size. A µP gradient falls as 1/width, and the published
    features change with it, since they add constants. VeLO's and Celo2's feature clipped at ±0.1 still does."""
    step_sizes: bool = False
    """θ holds a step size for every role of a parameter (input, hidden, …), a curve over the training."""
    weight_decay: float = setting(0.0, low=0)
    """Decoupled: each step subtracts learning rate · weight_decay · parameter."""

    def check_together(self, prefix: str) -> None:
        """Adam's direction takes two hidden units, one for each sign."""
        if self.start == "adam" and self.hidden_size < 2:
            raise ConfigError.value(f"{prefix}hidden_size", self.hidden_size, f"at least 2 with {prefix}start=adam")

    def rates(self, num_steps: "Array") -> "optax.Schedule":
        """The size of a step: λ1, its horizon and its schedule."""
        peak: Any = self.step_mult
        if self.horizon_exponent:
            peak = peak * (REFERENCE_STEPS / num_steps) ** self.horizon_exponent
        return self.scheduled(peak, num_steps)

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """Of the momentum three, of the second moment one."""
        from mulo.optimizers.accumulators import Accumulators

        return {Accumulators: ("momentum", "second_moment")}

    def entry_cost(self) -> Cost:
        """Of one parameter: the gradient is read for row and column sums; then gradient, parameter and moments are
        read and the moments written; then all are read again and the step is written."""
        hidden = self.hidden_size
        flops = 2 * (self.full_features * hidden + hidden**2 + 2 * hidden)
        return Cost(flops, 4 * (1 + 6 + 4 + 6 + 1))

    def cost(self, shapes: Sequence[Shape]) -> Cost:
        """Of all entries."""
        return self.entry_cost().times(entries(shapes))

    def scratch(self, sizes: Sequence[int], cpu: bool, native: bool) -> float:
        """The step; of the kernel in JAX also intermediates that XLA does not fuse (measured 20 to 24), and a tile."""
        from mulo.optimizers.per_parameter_mlp import ACCELERATOR_TILE, FUSED_HIDDEN, TILE

        if native:
            return super().scratch(sizes, cpu, native)
        tile = 0 if self.hidden_size <= FUSED_HIDDEN else min(max(sizes), TILE if cpu else ACCELERATOR_TILE)
        return 24 * sum(sizes) + 4 * tile * (self.full_features + 2 * self.hidden_size)

    @property
    def _rule(self) -> Any:
        """The module that holds the update."""
        return import_module(f"mulo.optimizers.{self.architecture}_rule")

    def init(self, key: "Array") -> "Theta":
        """As `start` says; random weights are truncated normal of std 1/√fan_in, biases zero."""
        theta = self._rule.initial(self, key)
        return theta | self._sizes() if self.step_sizes else theta

    def _sizes(self) -> dict[str, Any]:
        from mulo.optimizers import step_sizes

        return {"step_sizes": step_sizes.initial()}

    def rule(self, theta: "Theta", num_steps: "Array", multipliers: "Multipliers") -> "Transformation":
        """The steps of the MLPs."""
        return getattr(self._rule, f"scale_by_{self.architecture}")(self, theta, num_steps, multipliers)

    def read_haiku(self, arrays: Any) -> "Theta":
        """θ from the arrays of `exchange.haiku`, by Haiku's names."""
        return self._rule.read_haiku(arrays)

    def sizes(self, theta: "Theta") -> dict[str, int]:
        """The MLP's."""
        return {"hidden_size": theta["mlp"].w1.shape[-1]}
