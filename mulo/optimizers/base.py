"""What every optimizer says of itself: settings, names, costs, and its rule.

An optimizer is the frozen dataclass of its settings. To import one is cheap: a configuration is read and checked
without JAX, so the methods that need JAX import it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from mulo.config.settings import setting
from mulo.config.tasks import PARAMETRIZATIONS
from mulo.cost import Cost
from mulo.errors import ConfigError

if TYPE_CHECKING:
    import optax
    from optax import GradientTransformationExtraArgs as Transformation

    from mulo.types import Array, Multiplier, Multipliers, Params, Theta

Shape = tuple[int, ...]


class Look(NamedTuple):
    """How tables and pictures show an optimizer; variants of it, such as `µLO_S` of `µLO`, have a lighter colour."""

    label: str
    color: str
    marker: str
    parametrization: str
    """Of the networks it trains, where nothing else is said."""


@dataclass(frozen=True)
class Optimizer:
    """An update rule with its settings."""

    learned: ClassVar[bool] = True
    """Whether θ is meta-trained. A baseline's θ holds its own settings, so that several can be tried in one program."""
    looks: ClassVar[Mapping[str, Look]] = {}
    """By the name of a preset."""
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"sp": {}, "mup": {}}
    """By parametrization, settings of the authors' code that differ from the defaults here."""
    scales_inside: ClassVar[bool] = False
    """Whether the rule applies the multipliers itself; else its updates are scaled by them."""
    tunable: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that `tuning.grid` may try; they may be traced."""

    name: str = ""
    architecture: str = ""
    parametrization: str = setting("mup", choices=PARAMETRIZATIONS)
    """Of the networks it trains, unless `task.parametrization` says otherwise."""
    skip_non_finite: bool = False
    """Skips, and counts, steps whose loss or gradient is not finite or too large for its square to be."""

    def init(self, key: "Array") -> "Theta":
        """Fresh θ, where meta-training starts."""
        raise NotImplementedError

    def rule(self, theta: "Theta", num_steps: "Array", multipliers: "Multipliers") -> "Transformation":
        """The update before it is scaled by the multipliers, on float32 arrays with entries."""
        raise NotImplementedError

    def transform(self, theta: "Theta", num_steps: "Array | int", multipliers: "Multipliers") -> "Transformation":
        """The optimizer with weights `theta` for a training of `num_steps` steps, used like `optax.adam`."""
        from mulo.optimizers.transformation import at_least_one, transformation

        rule = self.rule(theta, at_least_one(num_steps, self.name), multipliers)
        return transformation(rule, multipliers, self)

    def grid(self, values: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
        """The values to try of each of its settings, out of `tuning.grid`; empty: nothing is tuned."""
        return {name: values[name] for name in self.tunable if name in values}

    def evaluation_params(self, state: Any, params: "Params") -> "Params":
        """The parameters to measure and to use: those that are trained, unless the optimizer averages them."""
        return params

    def power(self, multiplier: "Multiplier", rank: int) -> float:
        """The power of a multiplier, which is that of an elementwise update, that this rule's update takes."""
        return 1.0

    def factors(self, multiplier: "Multiplier | float", rank: int) -> tuple[float, float, float]:
        """What a parameter's multiplier comes to: factors on its update, weight decay and Adam's ε."""
        from mulo.optimizers.scaling import record

        c = record(multiplier)
        power = self.power(c, rank)
        return c.update**power, (c.update * c.weight_decay) ** power, c.epsilon

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """Of each type of state, the fields that hold moments as large as the parameters."""
        raise NotImplementedError

    def cost(self, shapes: Sequence[Shape]) -> Cost:
        """Least arithmetic and memory traffic of one step on tensors of these shapes."""
        raise NotImplementedError

    def scratch(self, sizes: Sequence[int], cpu: bool, native: bool) -> float:
        """Bytes that a step on tensors of so many entries needs beside gradients and state.

        Args:
            sizes: entries of each tensor.
            cpu: on a CPU, else on an accelerator.
            native: with the native kernel, where the optimizer uses it.
        """
        return 4 * sum(sizes)


def entries(shapes: Sequence[Shape]) -> int:
    """Of all tensors together."""
    return sum(math.prod(shape) for shape in shapes)


SCHEDULES = ("constant", "warmup_cosine", "warmup_linear", "warmup_stable_decay")


@dataclass(frozen=True)
class Scheduled(Optimizer):
    """A learning rate that may change over a training."""

    schedule: str = setting("constant", choices=SCHEDULES)
    """`warmup_cosine` and `warmup_linear` fall from the end of the warm-up on, `warmup_stable_decay` linearly at the
    end. Learned optimizers are meta-trained under their schedule."""
    warmup_fraction: float = setting(0.05, low=0, below=1)
    """Share of the training over which the learning rate rises."""
    final_fraction: float = setting(0.1, low=0, high=1)
    """Learning rate at the end of the training, as a share of the highest."""
    stable_fraction: float = setting(0.8, low=0, below=1)
    """Share of the training, warm-up included, after which `warmup_stable_decay` falls."""

    def scheduled(self, peak: "Array | float", num_steps: "Array") -> "optax.Schedule":
        """The learning rate by step."""
        from mulo.optimizers.schedule import warmup_then

        if self.schedule == "constant":
            return lambda step: peak
        return warmup_then(
            self.schedule, peak, num_steps, self.warmup_fraction, self.final_fraction, self.stable_fraction
        )


@dataclass(frozen=True)
class Baseline(Optimizer):
    """A hand-designed optimizer: θ holds those of its settings that may differ between vmapped trainings."""

    learned: ClassVar[bool] = False
    tunable: ClassVar[tuple[str, ...]] = ("learning_rate", "b1", "b2", "weight_decay")
    """These are in θ."""

    learning_rate: float = setting(1e-3, low=0)
    b1: float = setting(0.9, low=0, below=1)
    b2: float = setting(0.999, low=0, below=1)
    eps: float = setting(1e-8, above=0)
    weight_decay: float = setting(0.0, low=0)
    """Decoupled: each step subtracts learning rate · weight_decay · parameter, times the multiplier."""

    def init(self, key: "Array") -> "Theta":
        """The configured values as scalars; `key` plays no role."""
        import jax.numpy as jnp

        del key
        return {name: jnp.float32(getattr(self, name)) for name in self.tunable}

    def grid(self, values: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
        """The values of all settings in θ: those given, else the configured one alone."""
        return {name: values.get(name, [getattr(self, name)]) for name in self.tunable}

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """Adam's two."""
        import optax

        return {optax.ScaleByAdamState: ("mu", "nu")}

    def cost(self, shapes: Sequence[Shape]) -> Cost:
        """Gradient, parameter and two moments are read, step and moments written."""
        return ADAM.times(entries(shapes))


ADAM = Cost(14, 4 * (4 + 3))
"""Of Adam, per parameter."""


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
    step_mult: float = setting(0.001, low=0)
    """λ1, the size of a step."""
    horizon_exponent: float = setting(0.0, low=0, high=1)
    """λ1 is multiplied by (1000 / number of steps) to this power: longer trainings take smaller steps."""
    start: str = setting("random", choices=("random", "adam"))
    """Of meta-training. `adam`: the update is m / √v, of RMS 1, plus a tenth of a random network's."""
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
