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
from mulo.config.recipe import OuterConfig, RecipeConfig
from mulo.config.root import Config, CoordinateCheckConfig, LoggerConfig, PlanConfig
from mulo.config.sweeps import ClaimConfig, ReportConfig, SweepConfig
from mulo.config.tasks import (
    Augmentation,
    MixedConfig,
    MLPConfig,
    ResNetConfig,
    TaskBase,
    TaskConfig,
    TransformerConfig,
    ViTConfig,
)
from mulo.config.validation import ValidationConfig
