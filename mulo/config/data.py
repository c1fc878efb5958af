"""Settings of the datasets."""

from dataclasses import dataclass
from typing import TypeAlias

from mulo.config.settings import setting
from mulo.errors import ConfigError


@dataclass(frozen=True)
class EmbeddedDataConfig:
    """Fashion-MNIST averaged to 8×8 pixels, shipped with mulo."""

    name: str = setting("fashion_mnist_8x8", choices=("fashion_mnist_8x8",))


@dataclass(frozen=True)
class SyntheticDataConfig:
    """Gaussian clusters, one per class, drawn without end on the device: any shape, any number of classes."""

    name: str = setting("synthetic", choices=("synthetic",))
    shape: list[int] = setting([64], low=1)
    """Shape of one example; such as [32, 32, 3] passes for images."""
    classes: int = setting(10, low=2)
    separation: float = setting(2.0, above=0)
    """Length of a class mean in units of the noise: larger is easier."""
    seed: int = setting(0, low=0, high=2**31 - 1)
    """Decides the class means."""


@dataclass(frozen=True)
class StreamedDataConfig:
    """What datasets in files have in common: where the files are, and how they reach a device that cannot hold them."""

    path: str | None = setting(None, path=True)
    """Where the published files are."""
    in_memory_gib: float = setting(4.0, low=0)
    """Examples that take more GiB than this are streamed. Not the machine's memory: results must not depend on it."""
    window: int = setting(65536, low=1)
    """Streamed: training examples on the device at a time, a multiple of `block`."""
    block: int = setting(4096, low=1)
    """Streamed: examples that are exchanged per refresh."""
    order_seed: int = setting(0, low=0, high=2**31 - 1)
    """Streamed: decides the order of the examples."""

    def check_together(self, prefix: str) -> None:
        """A window consists of whole blocks."""
        if self.window % self.block:
            allowed = f"a multiple of {prefix}block={self.block}"
            raise ConfigError.value(f"{prefix}window", self.window, allowed)


IMAGES = ("fashion_mnist", "cifar10", "imagenet32", "imagenet64")


@dataclass(frozen=True)
class ImageDataConfig(StreamedDataConfig):
    """Images with one label each, from the files that were published."""

    name: str = setting("fashion_mnist", choices=IMAGES)


BPE_VOCABULARY = 1024


@dataclass(frozen=True)
class StdlibTextDataConfig:
    """The sources of the running Python's own standard library as text."""

    name: str = setting("stdlib_text", choices=("stdlib_text",))
    tokenizer: str = setting("bytes", choices=("bytes", "bpe"))
    """`bytes` has 256 tokens; `bpe` is byte-pair encoding trained on the training files."""
    vocabulary: int = setting(BPE_VOCABULARY, low=512, high=32768)
    """Tokens of `bpe`."""
    sequence_length: int = setting(64, low=1)
    """Tokens that a network sees at once."""

    def check_together(self, prefix: str) -> None:
        """Bytes have a vocabulary of their own."""
        if self.tokenizer == "bytes" and self.vocabulary != BPE_VOCABULARY:
            raise ConfigError(
                f"{prefix}vocabulary={self.vocabulary} is for {prefix}tokenizer=bpe: bytes are 256 tokens always."
            )


@dataclass(frozen=True)
class LM1BDataConfig(StreamedDataConfig):
    """The One Billion Word Benchmark (Chelba et al. 2013), from its published files."""

    name: str = setting("lm1b", choices=("lm1b",))
    tokenizer_path: str | None = setting(None, path=True)
    """A SentencePiece model (*.model); null: one is trained on the first training sentences."""
    vocabulary: int = setting(32000, low=512, high=1_000_000)
    """Tokens of the SentencePiece model, the one to be trained or the one given."""
    sequence_length: int = setting(64, low=1)
    """Tokens that a network sees at once."""


DataConfig: TypeAlias = (
    EmbeddedDataConfig | SyntheticDataConfig | ImageDataConfig | StdlibTextDataConfig | LM1BDataConfig
)
_OTHERS = (EmbeddedDataConfig, SyntheticDataConfig, StdlibTextDataConfig, LM1BDataConfig)
DATASETS = {**{schema().name: schema for schema in _OTHERS}, **dict.fromkeys(IMAGES, ImageDataConfig)}
"""Schemas by `data.name`."""
