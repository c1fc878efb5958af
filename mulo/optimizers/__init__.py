"""Learned optimizers and baselines, each an optax transformation once it is given θ.

This package's names are loaded without JAX; rules and kernels are in modules of their own.
"""

from typing import TYPE_CHECKING

from mulo.optimizers.adamw import AdamW
from mulo.optimizers.base import Baseline, Look, Optimizer
from mulo.optimizers.celo2 import Celo2
from mulo.optimizers.muon import Muon
from mulo.optimizers.per_parameter import PerParameterMLP
from mulo.optimizers.schedule_free import ScheduleFree
from mulo.optimizers.small_fc import SmallFC
from mulo.optimizers.velo import VeLO

if TYPE_CHECKING:
    from mulo.types import LearnedOptimizer, Theta


def fresh_theta(optimizer: Optimizer, seed: int) -> "Theta":
    """θ that meta-training with this seed begins with; of a baseline its settings."""
    from mulo import randomness

    return optimizer.init(randomness.branch(randomness.root(seed), "theta"))


def with_state_dtype(optimizer: Optimizer, state_dtype: str) -> "LearnedOptimizer":
    """The same optimizer, its moments kept in `state_dtype`: float32 or bfloat16."""
    from mulo.optimizers.reduced_state import InBfloat16

    return InBfloat16(optimizer) if state_dtype == "bfloat16" else optimizer
