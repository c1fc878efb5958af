"""What every optimizer says of itself: settings, names, costs, and its rule.

An optimizer is the frozen dataclass of its settings. To import one is cheap: a configuration is read and checked
without JAX, so the methods that need JAX import it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from mulo.config.settings import setting
from mulo.config.tasks import PARAMETRIZATIONS
from mulo.cost import Cost

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
