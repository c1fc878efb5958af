"""Learned optimizers and baselines, each an optax transformation once it is given θ."""

from mulo.config import AdamConfig, Celo2Config, OptimizerConfig, SmallFCConfig, VeLOConfig
from mulo.optimizers.baselines import Adam
from mulo.optimizers.celo2 import Celo2
from mulo.optimizers.small_fc import SmallFC
from mulo.optimizers.velo import VeLO
from mulo.types import LearnedOptimizer

_ARCHITECTURES = {SmallFCConfig: SmallFC, VeLOConfig: VeLO, Celo2Config: Celo2, AdamConfig: Adam}


def make_optimizer(config: OptimizerConfig) -> LearnedOptimizer:
    """The optimizer that these settings describe."""
    return _ARCHITECTURES[type(config)](config)


__all__ = ["Adam", "Celo2", "SmallFC", "VeLO", "make_optimizer"]
