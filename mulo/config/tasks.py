"""Settings of the optimizees."""

from dataclasses import dataclass
from typing import TypeAlias

from mulo.config.optimizers import PARAMETRIZATIONS
from mulo.config.settings import setting
from mulo.errors import ConfigError


@dataclass(frozen=True)
class _MLPBase:
    """What every MLP task has."""

    depth: int = setting(3, low=1, high=1024)
    """Hidden layers: depth 3 means 4 matrices."""
    activation: str = setting("relu", choices=("relu", "gelu", "tanh"))
    batch_size: int = setting(64, low=1)
    parametrization: str | None = setting(None, choices=PARAMETRIZATIONS)
    """null follows the optimizer; a value overrides it, for ablations."""
    weight_init: str = setting("normal", choices=("normal", "truncated_normal"))
    """`truncated_normal` is cut at two standard deviations, its variance uncorrected, as in the authors' code."""
    bias_init: str = setting("zeros", choices=("zeros", "normal"))
    """Biases under µP: `normal` is N(0, 1), as in the authors' code."""
    output_init: str = setting("zeros", choices=("zeros", "normal"))
    """Output matrix under µP: `normal` is N(0, 1), as in the paper's text."""
    scale_output_bias: bool = False
    """Applies the output's forward multiplier 1/fan_in to its bias too, as the authors' code does."""


@dataclass(frozen=True)
class MLPConfig(_MLPBase):
    """One MLP classifier."""

    name: str = setting("mlp", choices=("mlp",))
    width: int = setting(128, low=1, high=1_000_000)

    @property
    def all_widths(self) -> list[int]:
        """The one width, as a list."""
        return [self.width]


@dataclass(frozen=True)
class MLPMultiwidthConfig(_MLPBase):
    """The same MLP classifier at several widths, each its own estimator in meta-training."""

    name: str = setting("mlp_multiwidth", choices=("mlp_multiwidth",))
    widths: list[int] = setting([128, 512, 1024], low=1, high=1_000_000)

    @property
    def all_widths(self) -> list[int]:
        """All widths, in the order given."""
        return list(self.widths)

    def check_together(self, prefix: str) -> None:
        """Refuses a width given twice: it would count double in the meta-gradient by silence."""
        if len(set(self.widths)) < len(self.widths):
            raise ConfigError.value(f"{prefix}widths", self.widths, "a list without repetitions")


TaskConfig: TypeAlias = MLPConfig | MLPMultiwidthConfig
