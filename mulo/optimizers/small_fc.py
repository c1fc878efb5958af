"""small_fc_lopt: settings and names; `small_fc_rule` holds the update."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mulo.config.settings import setting
from mulo.optimizers.base import Look
from mulo.optimizers.per_parameter import PerParameterMLP


@dataclass(frozen=True)
class SmallFC(PerParameterMLP):
    """small_fc_lopt: one small MLP for every parameter (Metz et al. 2022, arXiv 2203.11860); under µP it is µLO."""

    looks: ClassVar[Mapping[str, Look]] = {
        "small_fc_mup": Look("µLO", "#D55E00", "s", "mup"),
        "small_fc_sp": Look("LO (SP)", "#E69F00", "v", "sp"),
        "mulo": Look("µLO", "#D55E00", "s", "mup"),
        "lo": Look("LO (SP)", "#E69F00", "v", "sp"),
    }
    full_features: ClassVar[int] = 16
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"sp": {"zero_non_finite": False}, "mup": {}}

    name: str = "small_fc_mup"
    architecture: str = setting("small_fc", choices=("small_fc",))
    step_mult: float = setting(0.01, above=0)
    """λ1, the size of a step: 0.01 in µP and 0.001 in SP (µLO, figure 7)."""
    exp_mult: float = setting(0.001, low=0)
    """λ2, the weight of the magnitude output in exp(λ2·m)."""
    zero_non_finite: bool = True
    """Sets non-finite gradient entries to 0 and counts them (on in µP, off in SP)."""
    normalize_step: bool = False
    """Gives the direction of every tensor RMS 1, as Celo2 does: the size of a step is λ1 and the multiplier alone."""
    time_features: str = setting("absolute", choices=("absolute", "relative"))
    """Eleven inputs tanh(t/τ − 1), as published, or tanh(10·(t/T − τ)) with T the length of the training."""
