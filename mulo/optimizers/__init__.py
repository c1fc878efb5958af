"""Learned optimizers and baselines, each an optax transformation once it is given θ."""

from mulo.config import AdamConfig, Celo2Config, OptimizerConfig, SmallFCConfig, VeLOConfig
from mulo.optimizers.baselines import Adam
from mulo.optimizers.celo2 import Celo2, in_effect
from mulo.optimizers.reduced_state import InBfloat16
from mulo.optimizers.scaling import epsilon_of, weight_decay_of
from mulo.optimizers.small_fc import SmallFC
from mulo.optimizers.velo import VeLO
from mulo.types import LearnedOptimizer

_ARCHITECTURES = {SmallFCConfig: SmallFC, VeLOConfig: VeLO, Celo2Config: Celo2, AdamConfig: Adam}


def make_optimizer(config: OptimizerConfig, state_dtype: str = "float32") -> LearnedOptimizer:
    """The optimizer that these settings describe, its moments kept in `state_dtype`: float32 or bfloat16."""
    optimizer = _ARCHITECTURES[type(config)](config)
    return InBfloat16(optimizer) if state_dtype == "bfloat16" else optimizer


def factors(config: OptimizerConfig, multiplier: float, rank: int) -> tuple[float, float, float]:
    """What a parameter's multiplier comes to under these settings: factors on its update, weight decay and Adam's ε."""
    decay, epsilon = weight_decay_of(multiplier), epsilon_of(multiplier)
    if isinstance(config, Celo2Config):
        update, decay = (in_effect(config, float(c), rank) for c in (multiplier, decay))
    else:
        update = float(multiplier)
    return update, update * decay, epsilon


__all__ = ["Adam", "Celo2", "SmallFC", "VeLO", "factors", "make_optimizer"]
