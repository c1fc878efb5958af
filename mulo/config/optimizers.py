"""Settings of learned optimizers and baselines."""

from dataclasses import dataclass
from typing import TypeAlias

from mulo.config.settings import setting

PARAMETRIZATIONS = ("sp", "mup")


@dataclass(frozen=True)
class _Optimizer:
    """What every optimizer has."""

    skip_non_finite: bool = False
    """Skips, and counts, steps whose loss or gradient is not finite or too large for its square to be."""


@dataclass(frozen=True)
class SmallFCConfig(_Optimizer):
    """small_fc_lopt: one small MLP for every parameter (Metz et al. 2022, arXiv 2203.11860)."""

    name: str = "small_fc_mup"
    architecture: str = setting("small_fc", choices=("small_fc",))
    parametrization: str = setting("mup", choices=PARAMETRIZATIONS)
    hidden_size: int = setting(32, low=1, high=1024)
    step_mult: float = setting(0.01, above=0)
    """λ1, the size of a step: 0.01 in µP and 0.001 in SP (µLO, figure 7)."""
    exp_mult: float = setting(0.001, low=0)
    """λ2, the weight of the magnitude output in exp(λ2·m)."""
    zero_non_finite: bool = True
    """Sets non-finite gradient entries to 0 and counts them (on in µP, off in SP)."""


@dataclass(frozen=True)
class VeLOConfig(_Optimizer):
    """VeLO: a per-tensor LSTM mixes copies of a per-parameter MLP (Metz et al. 2022, arXiv 2211.09760)."""

    name: str = "velo_mup"
    architecture: str = setting("velo", choices=("velo",))
    parametrization: str = setting("mup", choices=PARAMETRIZATIONS)
    hidden_size: int = setting(4, low=1, high=1024)
    lstm_hidden_size: int = setting(16, low=1, high=4096)
    param_inits: int = setting(8, low=1, high=4096)
    """How many copies of the per-parameter MLP the LSTM mixes."""
    interp_mult: float = setting(1.0, above=0)
    """Factor on the mixed weights: 100 in SP, 1 in µP."""
    param_scale_mult: bool = False
    """Scales each tensor's step by the RMS of its parameters: on in SP; off in µP, where it stops zero tensors."""
    step_mult: float = setting(0.001, above=0)
    exp_mult: float = setting(0.001, low=0)


@dataclass(frozen=True)
class _Scheduled(_Optimizer):
    """A learning rate that may change over a training."""

    schedule: str = setting("constant", choices=("constant", "warmup_cosine"))
    warmup_fraction: float = setting(0.05, low=0, below=1)
    """Share of the training over which `warmup_cosine` rises to the learning rate."""
    final_fraction: float = setting(0.1, low=0, high=1)
    """Learning rate at the end of `warmup_cosine`, as a share of the highest."""


@dataclass(frozen=True)
class Celo2Config(_Scheduled):
    """Celo2: an MLP's direction of RMS 1; AdamW for rank < 2 (Moudgil et al. 2026, arXiv 2602.19142)."""

    name: str = "celo2_mup"
    architecture: str = setting("celo2", choices=("celo2",))
    parametrization: str = setting("mup", choices=PARAMETRIZATIONS)
    hidden_size: int = setting(8, low=1, high=1024)
    orthogonalize: bool = False
    """Newton–Schulz on every matrix's direction; its µP multiplier is then 1/√fan_in instead of 1/fan_in."""
    step_mult: float = setting(0.001, low=0)
    """The learning rate."""
    vector_mult: float = setting(20.0, low=0)
    """Learning rate of AdamW on tensors of rank < 2, in units of `step_mult`."""
    weight_decay: float = setting(0.0, low=0)
    """Decoupled: each step subtracts learning rate · weight_decay · parameter."""


@dataclass(frozen=True)
class AdamConfig(_Scheduled):
    """AdamW and µAdam: optax.adamw, its update scaled by the same multipliers as a learned one."""

    name: str = "adamw"
    architecture: str = setting("adamw", choices=("adamw",))
    parametrization: str = setting("sp", choices=PARAMETRIZATIONS)
    learning_rate: float = setting(1e-3, low=0)
    b1: float = setting(0.9, low=0, below=1)
    b2: float = setting(0.999, low=0, below=1)
    eps: float = setting(1e-8, above=0)
    weight_decay: float = setting(0.0, low=0)


LearnedOptimizerConfig: TypeAlias = SmallFCConfig | VeLOConfig | Celo2Config
OptimizerConfig: TypeAlias = LearnedOptimizerConfig | AdamConfig
