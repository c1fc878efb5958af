"""Every setting of mulo as frozen dataclasses with range checks; plain data, importing neither JAX nor Hydra."""

from mulo.config.data import (
    DataConfig,
    EmbeddedDataConfig,
    ImageDataConfig,
    LM1BDataConfig,
    StdlibTextDataConfig,
    StreamedDataConfig,
    SyntheticDataConfig,
)
from mulo.config.optimizers import (
    AdamConfig,
    Celo2Config,
    LearnedOptimizerConfig,
    OptimizerConfig,
    SmallFCConfig,
    VeLOConfig,
)
from mulo.config.parse import parse, parse_group, to_dict
from mulo.config.root import (
    Config,
    CoordinateCheckConfig,
    EvaluationConfig,
    LoggerConfig,
    OuterConfig,
    PlanConfig,
    RecipeConfig,
)
from mulo.config.tasks import Augmentation, MixedConfig, MLPConfig, MLPMultiwidthConfig, TaskBase, TaskConfig

__all__ = [
    "AdamConfig",
    "Augmentation",
    "Celo2Config",
    "Config",
    "CoordinateCheckConfig",
    "DataConfig",
    "EmbeddedDataConfig",
    "EvaluationConfig",
    "ImageDataConfig",
    "LM1BDataConfig",
    "LearnedOptimizerConfig",
    "LoggerConfig",
    "MLPConfig",
    "MLPMultiwidthConfig",
    "MixedConfig",
    "OptimizerConfig",
    "OuterConfig",
    "PlanConfig",
    "RecipeConfig",
    "SmallFCConfig",
    "StdlibTextDataConfig",
    "StreamedDataConfig",
    "SyntheticDataConfig",
    "TaskBase",
    "TaskConfig",
    "VeLOConfig",
    "parse",
    "parse_group",
    "to_dict",
]
