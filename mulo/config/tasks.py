"""Settings of the optimizees."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

from mulo.config.settings import setting
from mulo.errors import ConfigError

PARAMETRIZATIONS = ("sp", "mup")
ACTIVATIONS = ("relu", "gelu", "tanh")
TASK_PARAMETRIZATIONS = (*PARAMETRIZATIONS, "completep", "mup_but_hidden", "mup_but_output", "mup_but_attention")
POSITIONS = ("learned", "none")
FAMILIES = ("mlp", "transformer", "vit", "resnet")
AUGMENTATIONS = ("none", "global", "tensor", "parameter")


@dataclass(frozen=True)
class Augmentation:
    """Reparametrized weights: new units for them in every training (Celo: Moudgil et al. 2025, arXiv 2501.12670)."""

    level: str = setting("none", choices=AUGMENTATIONS)
    """One random factor per network (`global`), per tensor, per parameter, or none."""
    largest: float = setting(10.0, above=1)
    """Factors are log-uniform between 1/largest and largest."""


@dataclass(frozen=True)
class TaskBase:
    """What every task has."""

    family: ClassVar[str]
    """Its architecture, whatever the number of widths."""
    residual: ClassVar[bool] = True
    """Whether it has residual blocks, which CompleteP scales."""
    attends: ClassVar[bool] = False
    """Whether it has attention, whose logits µP scales."""

    depth: int = setting(3, low=1, high=1024)
    """Hidden layers or blocks."""
    batch_size: int = setting(64, low=1)
    parametrization: str | None = setting(None, choices=TASK_PARAMETRIZATIONS)
    """null follows the optimizer; a value overrides it, for ablations. `mup_but_…` is µP with one part as in SP."""
    weight_init: str = setting("normal", choices=("normal", "truncated_normal"))
    """`truncated_normal` is cut at two standard deviations, its variance uncorrected, as in the authors' code."""
    bias_init: str = setting("zeros", choices=("zeros", "normal"))
    """Biases under µP: `normal` is N(0, 1), as in the authors' code."""
    output_init: str = setting("zeros", choices=("zeros", "normal"))
    """Output matrix under µP: `normal` is N(0, 1), as in the paper's text."""
    scale_output_bias: bool = False
    """Applies the output's forward multiplier 1/fan_in to its bias too, as the authors' code does."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def check_together(self, prefix: str) -> None:
        """A parametrization needs what it scales; a size given twice would count double in the meta-gradient."""
        if self.parametrization == "completep" and not self.residual:
            advice = "CompleteP scales residual blocks, and this network has none."
            raise ConfigError.value(f"{prefix}parametrization", "completep", "null, sp or mup", advice)
        if self.parametrization == "mup_but_attention" and not self.attends:
            advice = "This network has no attention."
            raise ConfigError.value(f"{prefix}parametrization", self.parametrization, "another one", advice)
        for key in ("widths", "depths"):
            sizes = getattr(self, key, None) or []
            if len(set(sizes)) < len(sizes):
                raise ConfigError.value(f"{prefix}{key}", sizes, "a list without repetitions")

    @property
    def blocks(self) -> int:
        """Residual blocks, one after the other."""
        return self.depth

    @property
    def all_widths(self) -> list[int]:
        """Of its networks, in the order given."""
        raise NotImplementedError

    @property
    def all_depths(self) -> list[int]:
        """Of its networks: every width has every depth."""
        return list(getattr(self, "depths", None) or [self.depth])

    @property
    def parts(self) -> Sequence["TaskBase"]:
        """One architecture: itself."""
        return [self]


@dataclass(frozen=True)
class _One:
    """One width."""

    width: int = setting(128, low=1, high=1_000_000)

    @property
    def all_widths(self) -> list[int]:
        """The one width, as a list."""
        return [self.width]


@dataclass(frozen=True)
class _Several:
    """Several widths, and perhaps several depths, each network its own estimator in meta-training."""

    widths: list[int] = setting([128, 512, 1024], low=1, high=1_000_000)
    depths: list[int] | None = setting(None, low=1, high=1024)
    """Several depths, each at every width, instead of `depth`; null: that one."""

    @property
    def all_widths(self) -> list[int]:
        """All widths, in the order given."""
        return list(self.widths)


@dataclass(frozen=True)
class MLPBase(TaskBase):
    """Every MLP classifier; depth 3 means 3 hidden layers, 4 matrices."""

    family: ClassVar[str] = "mlp"
    residual: ClassVar[bool] = False

    activation: str = setting("relu", choices=ACTIVATIONS)


@dataclass(frozen=True)
class MLPConfig(_One, MLPBase):
    """One MLP classifier."""

    name: str = setting("mlp", choices=("mlp",))


@dataclass(frozen=True)
class MLPMultiwidthConfig(_Several, MLPBase):
    """The same MLP classifier at several widths."""

    name: str = setting("mlp_multiwidth", choices=("mlp_multiwidth",))


@dataclass(frozen=True)
class AttentionBase(TaskBase):
    """What networks of self-attention have."""

    attends: ClassVar[bool] = True

    heads: int = setting(4, low=1)
    head_size: int | None = setting(None, low=1)
    """null: width / heads."""
    activation: str = setting("gelu", choices=ACTIVATIONS)
    positions: str = setting("learned", choices=POSITIONS)
    query_init: str = setting("normal", choices=("normal", "zeros"))
    """`zeros`: attention starts uniform at every width (Yang et al. 2022, arXiv 2203.03466, appendix D.2)."""
    embedding_std: float = setting(1.0, above=0)
    """Of embeddings and positions at initialization: 1 in the paper, 0.02 in GPT-2."""


@dataclass(frozen=True)
class TransformerBase(AttentionBase):
    """Every causal language model."""

    family: ClassVar[str] = "transformer"


@dataclass(frozen=True)
class TransformerConfig(_One, TransformerBase):
    """One causal language model."""

    name: str = setting("transformer", choices=("transformer",))


@dataclass(frozen=True)
class TransformerMultiwidthConfig(_Several, TransformerBase):
    """The same causal language model at several widths."""

    name: str = setting("transformer_multiwidth", choices=("transformer_multiwidth",))


@dataclass(frozen=True)
class ViTBase(AttentionBase):
    """Every vision transformer."""

    family: ClassVar[str] = "vit"

    patch: int = setting(2, low=1)
    """Height and width of a patch in pixels."""


@dataclass(frozen=True)
class ViTConfig(_One, ViTBase):
    """One vision transformer."""

    name: str = setting("vit", choices=("vit",))


@dataclass(frozen=True)
class ViTMultiwidthConfig(_Several, ViTBase):
    """The same vision transformer at several widths."""

    name: str = setting("vit_multiwidth", choices=("vit_multiwidth",))


@dataclass(frozen=True)
class ResNetBase(TaskBase):
    """Every residual network; its depth is that of each stage."""

    family: ClassVar[str] = "resnet"

    stages: int = setting(2, low=1, high=8)
    """Each but the first halves the image and doubles the channels."""
    groups: int = setting(8, low=1)
    """Of the GroupNorms."""
    activation: str = setting("relu", choices=ACTIVATIONS)

    @property
    def blocks(self) -> int:
        """Residual blocks, one after the other."""
        return self.depth * self.stages


@dataclass(frozen=True)
class ResNetConfig(_One, ResNetBase):
    """One residual network."""

    name: str = setting("resnet", choices=("resnet",))


@dataclass(frozen=True)
class ResNetMultiwidthConfig(_Several, ResNetBase):
    """The same residual network at several widths."""

    name: str = setting("resnet_multiwidth", choices=("resnet_multiwidth",))


@dataclass(frozen=True)
class MixedConfig:
    """Several architectures at once, each network its own estimator in meta-training."""

    name: str = setting("mixed", choices=("mixed",))
    members: list[str] = setting(["mlp", "transformer", "vit", "resnet"], choices=FAMILIES)
    """Which of the groups below take part."""
    parametrization: str | None = setting(None, choices=PARAMETRIZATIONS)
    """Of all members; null follows the optimizer."""
    mlp: MLPMultiwidthConfig = field(default_factory=MLPMultiwidthConfig)
    transformer: TransformerMultiwidthConfig = field(default_factory=TransformerMultiwidthConfig)
    vit: ViTMultiwidthConfig = field(default_factory=ViTMultiwidthConfig)
    resnet: ResNetMultiwidthConfig = field(default_factory=ResNetMultiwidthConfig)
    text: Any = None
    """The transformer's dataset, as in `data=`; the others follow `data`."""

    @property
    def parts(self) -> Sequence[TaskBase]:
        """The members' settings, under the parametrization of all."""
        return [replace(getattr(self, name), parametrization=self.parametrization) for name in self.members]

    def check_together(self, prefix: str) -> None:
        """A member given twice would count double; a parametrization of its own would be passed over."""
        if len(set(self.members)) < len(self.members):
            raise ConfigError.value(f"{prefix}members", self.members, "a list without repetitions")
        for name in FAMILIES:
            own = getattr(self, name).parametrization
            if own is not None:
                advice = f"{prefix}parametrization holds for all members."
                raise ConfigError.value(f"{prefix}{name}.parametrization", own, "null", advice)


SingleTask: TypeAlias = MLPConfig | TransformerConfig | ViTConfig | ResNetConfig
SeveralTask: TypeAlias = (
    MLPMultiwidthConfig | TransformerMultiwidthConfig | ViTMultiwidthConfig | ResNetMultiwidthConfig
)
TaskConfig: TypeAlias = SingleTask | SeveralTask | MixedConfig
TASKS = {
    config().name: config
    for config in (
        MLPConfig,
        MLPMultiwidthConfig,
        TransformerConfig,
        TransformerMultiwidthConfig,
        ViTConfig,
        ViTMultiwidthConfig,
        ResNetConfig,
        ResNetMultiwidthConfig,
        MixedConfig,
    )
}
"""Schemas by `task=<name>`."""
