"""Settings of the optimizees: one class per architecture, whatever the number of its networks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, TypeAlias

from mulo.config.data import StdlibTextDataConfig
from mulo.config.settings import setting
from mulo.errors import ConfigError

PARAMETRIZATIONS = ("sp", "mup")
ACTIVATIONS = ("relu", "gelu", "tanh")
TASK_PARAMETRIZATIONS = (*PARAMETRIZATIONS, "completep", "mup_but_hidden", "mup_but_output", "mup_but_attention")
POSITIONS = ("learned", "none")
MEMBERS = ("mlp", "transformer", "vit", "resnet")
AUGMENTATIONS = ("none", "global", "tensor", "parameter")
DEFAULT_WIDTH = 32


class Size(NamedTuple):
    """What networks of one architecture differ in."""

    width: int
    depth: int


@dataclass(frozen=True)
class Augmentation:
    """Reparametrized weights: new units for them in every training (Celo: Moudgil et al. 2025, arXiv 2501.12670)."""

    level: str = setting("none", choices=AUGMENTATIONS)
    """One random factor per network (`global`), per tensor, per parameter, or none."""
    largest: float = setting(10.0, above=1)
    """Factors are log-uniform between 1/largest and largest."""


@dataclass(frozen=True)
class TaskBase:
    """What every architecture has: the sizes of its networks, and how they are parametrized and drawn."""

    label: ClassVar[str]
    """Its name in tables and pictures."""
    network: ClassVar[str | type]
    """The class of its networks, as `module:Class`, which is imported when the first is built."""
    reads: ClassVar[tuple[str, ...]]
    """The kinds of data that it can read."""
    residual: ClassVar[bool] = True
    """Whether it has residual blocks, which CompleteP scales."""
    attends: ClassVar[bool] = False
    """Whether it has attention, whose logits µP scales."""

    name: str = ""
    """What run directories call it."""
    architecture: str = ""
    """Chooses the settings below."""
    width: int | None = setting(None, low=1, high=1_000_000)
    """Of one network; null: 32, or several `widths`."""
    widths: list[int] | None = setting(None, low=1, high=1_000_000)
    """Of several networks, each with a meta-gradient of its own; null: one of `width`."""
    depth: int = setting(3, low=1, high=1024)
    """Hidden layers or blocks."""
    depths: list[int] | None = setting(None, low=1, high=1024)
    """Several depths, each at every width, instead of `depth`; null: that one."""
    batch_size: int = setting(64, low=1)
    parametrization: str | None = setting(None, choices=TASK_PARAMETRIZATIONS)
    """null follows the optimizer; a value overrides it, for ablations. `mup_but_…` is µP with one part as in SP."""
    weight_init: str = setting("normal", choices=("normal", "truncated_normal"))
    """Standard deviation 1/√fan_in. `truncated_normal` is cut at two of them, its variance uncorrected (0.88/√fan_in),
    as in the authors' code."""
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
        if self.width is not None and self.widths is not None:
            advice = f"Set one of them to null, or choose a task of one width, such as task={self.architecture}."
            raise ConfigError.value(f"{prefix}width", self.width, f"null beside {prefix}widths={self.widths}", advice)
        for key in ("widths", "depths"):
            sizes = getattr(self, key) or []
            if len(set(sizes)) < len(sizes):
                raise ConfigError.value(f"{prefix}{key}", sizes, "a list without repetitions")

    def blocks(self, depth: int) -> int:
        """Residual blocks of a network, one after the other."""
        return depth

    @property
    def all_widths(self) -> list[int]:
        """Of its networks, in the order given."""
        return list(self.widths or [self.width or DEFAULT_WIDTH])

    def sizes(self, widths: Sequence[int] | None = None, depths: Sequence[int] | None = None) -> list[Size]:
        """Every width at every depth, those given or its own."""
        return [Size(w, d) for d in depths or self.depths or [self.depth] for w in widths or self.all_widths]

    @property
    def parts(self) -> Sequence["TaskBase"]:
        """One architecture: itself."""
        return [self]

    def data_of(self, part: "TaskBase", data: Any) -> Any:
        """What a part learns from where the job's data are `data`: those."""
        del part
        return data


@dataclass(frozen=True)
class MLPConfig(TaskBase):
    """MLP classifiers; depth 3 means 3 hidden layers, 4 matrices."""

    label = "MLP"
    network = "mulo.models.mlp:MLP"
    reads = ("images", "features")
    residual = False

    name: str = "mlp"
    architecture: str = setting("mlp", choices=("mlp",))
    activation: str = setting("relu", choices=ACTIVATIONS)


@dataclass(frozen=True)
class AttentionConfig(TaskBase):
    """What networks of self-attention have."""

    attends = True

    heads: int = setting(4, low=1)
    head_size: int | None = setting(None, low=1)
    """null: width / heads."""
    activation: str = setting("gelu", choices=ACTIVATIONS)
    positions: str = setting("learned", choices=POSITIONS)
    """`none` as in the authors' code of transformers."""
    query_init: str = setting("normal", choices=("normal", "zeros"))
    """`zeros`: attention starts uniform at every width (Yang et al. 2022, arXiv 2203.03466, appendix D.2)."""
    embedding_std: float = setting(1.0, above=0)
    """Of embeddings and positions at initialization: 1 in the paper, 0.02 in GPT-2."""


@dataclass(frozen=True)
class TransformerConfig(AttentionConfig):
    """Causal language models (pre-LN)."""

    label = "Transformer"
    network = "mulo.models.transformer:Transformer"
    reads = ("tokens",)

    name: str = "transformer"
    architecture: str = setting("transformer", choices=("transformer",))


@dataclass(frozen=True)
class ViTConfig(AttentionConfig):
    """Vision transformers."""

    label = "ViT"
    network = "mulo.models.vit:ViT"
    reads = ("images",)

    name: str = "vit"
    architecture: str = setting("vit", choices=("vit",))
    patch: int = setting(2, low=1)
    """Height and width of a patch in pixels."""


@dataclass(frozen=True)
class ResNetConfig(TaskBase):
    """Residual networks of basic blocks; depth is that of each stage."""

    label = "ResNet"
    network = "mulo.models.resnet:ResNet"
    reads = ("images",)

    name: str = "resnet"
    architecture: str = setting("resnet", choices=("resnet",))
    depth: int = setting(1, low=1, high=1024)
    """Blocks per stage."""
    stages: int = setting(2, low=1, high=8)
    """Each but the first halves the image and doubles the channels."""
    groups: int = setting(8, low=1)
    """Of the GroupNorms."""
    activation: str = setting("relu", choices=ACTIVATIONS)

    def blocks(self, depth: int) -> int:
        """Residual blocks of a network, one after the other."""
        return depth * self.stages


def _member(schema: type, name: str) -> Any:
    return field(default_factory=lambda: schema(name=name, widths=[16, 64]))


@dataclass(frozen=True)
class MixedConfig:
    """Several architectures at once, each network with a meta-gradient of its own, all weighing the same."""

    name: str = "mixed"
    architecture: str = setting("mixed", choices=("mixed",))
    members: list[str] = setting([*MEMBERS], choices=MEMBERS)
    """Which of the groups below take part."""
    parametrization: str | None = setting(None, choices=PARAMETRIZATIONS)
    """Of all members; null follows the optimizer."""
    mlp: MLPConfig = _member(MLPConfig, "mlp_multiwidth")
    transformer: TransformerConfig = _member(TransformerConfig, "transformer_multiwidth")
    vit: ViTConfig = _member(ViTConfig, "vit_multiwidth")
    resnet: ResNetConfig = _member(ResNetConfig, "resnet_multiwidth")
    text: Any = setting(StdlibTextDataConfig(), group="data")
    """What members that read text learn from, as in `data=`; the others follow `data`."""

    @property
    def parts(self) -> Sequence[TaskBase]:
        """The members' settings, under the parametrization of all."""
        return [replace(getattr(self, name), parametrization=self.parametrization) for name in self.members]

    def data_of(self, part: TaskBase, data: Any) -> Any:
        """What a member learns from where the job's data are `data`."""
        return self.text if "tokens" in part.reads else data

    def check_together(self, prefix: str) -> None:
        """A member given twice would count double; a parametrization of its own would be passed over."""
        if len(set(self.members)) < len(self.members):
            raise ConfigError.value(f"{prefix}members", self.members, "a list without repetitions")
        for name in MEMBERS:
            parametrization = getattr(self, name).parametrization
            if parametrization is not None:
                advice = f"{prefix}parametrization holds for all members."
                raise ConfigError.value(f"{prefix}{name}.parametrization", parametrization, "null", advice)


TaskConfig: TypeAlias = TaskBase | MixedConfig
ARCHITECTURES = {
    schema().architecture: schema for schema in (MLPConfig, TransformerConfig, ViTConfig, ResNetConfig, MixedConfig)
}
"""Schemas by `task.architecture`."""
