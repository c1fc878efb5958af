"""Every setting of mulo as frozen dataclasses with range checks; plain data, importing neither JAX nor Hydra."""

from mulo.config.choices import (
    AdamConfig,
    Celo2Config,
    DataConfig,
    EmbeddedDataConfig,
    LearnedOptimizerConfig,
    LoggerConfig,
    MLPConfig,
    MLPMultiwidthConfig,
    OptimizerConfig,
    SmallFCConfig,
    SyntheticDataConfig,
    TaskConfig,
    VeLOConfig,
)
from mulo.config.parse import parse, parse_group, to_dict
from mulo.config.root import Config, CoordinateCheckConfig, EvaluationConfig, OuterConfig, PlanConfig, RecipeConfig

__all__ = [
    "AdamConfig",
    "Celo2Config",
    "Config",
    "CoordinateCheckConfig",
    "DataConfig",
    "EmbeddedDataConfig",
    "EvaluationConfig",
    "LearnedOptimizerConfig",
    "LoggerConfig",
    "MLPConfig",
    "MLPMultiwidthConfig",
    "OptimizerConfig",
    "OuterConfig",
    "PlanConfig",
    "RecipeConfig",
    "SmallFCConfig",
    "SyntheticDataConfig",
    "TaskConfig",
    "VeLOConfig",
    "parse",
    "parse_group",
    "to_dict",
]
