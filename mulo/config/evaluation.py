"""Settings of evaluations: the grid of networks, what stands beside θ, and how optimizers are tuned."""

import math
from dataclasses import dataclass, field
from typing import Any

from mulo.config.settings import setting
from mulo.errors import ConfigError


@dataclass(frozen=True)
class EvaluationConfig:
    """What a finished θ is measured on: widths × depths × horizons, every network `seeds` times; and beside what."""

    task: Any = setting(None, group="task")
    """Another task than the one meta-trained on, as in `task=`; null: that one."""
    data: Any = setting(None, group="data")
    """Other data, as in `data=`; null: those of meta-training."""
    widths: list[int] | None = setting(None, low=1)
    """null: the task's own widths, and in mode=main also 2, 4 and 8 times the largest of them."""
    depths: list[int] | None = setting(None, low=1, high=1024)
    """null: the task's own."""
    num_steps: int = setting(200, low=1)
    horizons: list[int] | None = setting(None, low=1)
    """Several numbers of steps, each a training of its own: optimizers are told their horizon. null: `num_steps`."""
    test_points: int = setting(5, low=1, high=20)
    """How often the test loss is measured in a training, its end included."""
    seeds: int = setting(3, low=1)
    seed: int = setting(0, low=0, high=2**31 - 1)
    """Decides initializations and minibatches, the same for every θ, whatever the seed of its meta-training."""
    baselines: Any = setting(None, group="optimizer", each=True)
    """By name, the settings of optimizers that stand beside θ; a learned one has a fresh θ. null: none; an entry that
    is null is left out."""
    theta0: bool = False
    """Where θ is meta-trained, the θ that meta-training began with stands beside it, as `<method>_theta0`."""
    sp_twin: str | None = setting(None, path=True)
    """θ of the same architecture meta-trained under SP, to stand beside a µP one; given as `checkpoint` is."""
    model_devices: int = setting(1, low=1)
    """How many devices share each network: parameters, optimizer state and update."""

    @property
    def all_horizons(self) -> list[int]:
        """Numbers of inner steps of the trainings."""
        return list(self.horizons or [self.num_steps])

    def check_together(self, prefix: str) -> None:
        """A size given twice would be trained twice."""
        for key in ("widths", "depths", "horizons"):
            sizes = getattr(self, key) or []
            if len(set(sizes)) < len(sizes):
                raise ConfigError.value(f"{prefix}{key}", sizes, "a list without repetitions")


@dataclass(frozen=True)
class TuningConfig:
    """How mode=main tunes a baseline, or a learned optimizer with its θ, before it is evaluated (µLO, section 5)."""

    width: int | None = setting(None, low=1)
    """Where settings are compared; what is best there is carried over to all widths. null: the task's largest."""
    each_width: bool = False
    """Tunes anew at each width that is evaluated instead: an oracle, which zero-shot transfer cannot have."""
    num_steps: int = setting(200, low=1)
    seeds: int = setting(1, low=1)
    """Trainings per setting; the best has the lowest mean training loss over fixed examples at the end."""
    settings_at_once: int = setting(16, low=1)
    """Settings that are trained in one program; fewer need less memory."""
    grid: dict[str, list[float]] = field(default_factory=lambda: {"learning_rate": [1e-4, 1e-3, 1e-2, 1e-1]})
    """Values of tunable settings, each tried with each of the others; what is left out keeps its own. Those of
    baselines (`learning_rate`, `b1`, …) and of learned optimizers (`step_mult`, Celo2's `vector_mult`) may stand side
    by side: the other kind's are passed over. A learned optimizer of which none is named is not tuned."""

    def check_together(self, prefix: str) -> None:
        """Nothing can be tried of no values."""
        for name, values in self.grid.items():
            if not values or not all(map(math.isfinite, values)):
                raise ConfigError.value(f"{prefix}grid.{name}", values, "a list of at least one finite number")
