"""Learned optimizers and baselines, each an optax transformation once it is given θ."""

from mulo.config import AdamConfig, Celo2Config, OptimizerConfig, SmallFCConfig, VeLOConfig
from mulo.optimizers.baselines import Adam
from mulo.optimizers.celo2 import Celo2
from mulo.optimizers.reduced_state import InBfloat16
from mulo.optimizers.small_fc import SmallFC
from mulo.optimizers.velo import VeLO
from mulo.types import LearnedOptimizer

_ARCHITECTURES = {SmallFCConfig: SmallFC, VeLOConfig: VeLO, Celo2Config: Celo2, AdamConfig: Adam}


def make_optimizer(config: OptimizerConfig, state_dtype: str = "float32") -> LearnedOptimizer:
    """The optimizer that these settings describe, its moments kept in `state_dtype`: float32 or bfloat16."""
    optimizer = _ARCHITECTURES[type(config)](config)
    return InBfloat16(optimizer) if state_dtype == "bfloat16" else optimizer


__all__ = ["Adam", "Celo2", "SmallFC", "VeLO", "make_optimizer"]
