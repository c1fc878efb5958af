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
from mulo.config.evaluation import EvaluationConfig, TuningConfig
from mulo.config.parse import parse, parse_group, to_dict
from mulo.config.root import (
    Config,
    CoordinateCheckConfig,
    LoggerConfig,
    OuterConfig,
    PlanConfig,
    RecipeConfig,
)
from mulo.config.sweeps import ClaimConfig, ReportConfig, SweepConfig
from mulo.config.tasks import (
    Augmentation,
    MixedConfig,
    MLPConfig,
    MLPMultiwidthConfig,
    ResNetConfig,
    ResNetMultiwidthConfig,
    TaskBase,
    TaskConfig,
    TransformerConfig,
    TransformerMultiwidthConfig,
    ViTConfig,
    ViTMultiwidthConfig,
)

__all__ = [
    "Augmentation",
    "ClaimConfig",
    "Config",
    "CoordinateCheckConfig",
    "DataConfig",
    "EmbeddedDataConfig",
    "EvaluationConfig",
    "ImageDataConfig",
    "LM1BDataConfig",
    "LoggerConfig",
    "MLPConfig",
    "MLPMultiwidthConfig",
    "MixedConfig",
    "OuterConfig",
    "PlanConfig",
    "RecipeConfig",
    "ReportConfig",
    "ResNetConfig",
    "ResNetMultiwidthConfig",
    "StdlibTextDataConfig",
    "StreamedDataConfig",
    "SweepConfig",
    "SyntheticDataConfig",
    "TaskBase",
    "TaskConfig",
    "TransformerConfig",
    "TransformerMultiwidthConfig",
    "TuningConfig",
    "ViTConfig",
    "ViTMultiwidthConfig",
    "parse",
    "parse_group",
    "to_dict",
]
