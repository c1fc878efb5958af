"""Settings of the datasets."""

from dataclasses import dataclass
from typing import TypeAlias

from mulo.config.settings import setting


@dataclass(frozen=True)
class EmbeddedDataConfig:
    """Fashion-MNIST averaged to 8×8 pixels, shipped with mulo."""

    name: str = setting("fashion_mnist_8x8", choices=("fashion_mnist_8x8",))


@dataclass(frozen=True)
class SyntheticDataConfig:
    """Gaussian clusters, one per class, drawn without end on the device: any shape, any number of classes."""

    name: str = setting("synthetic", choices=("synthetic",))
    shape: list[int] = setting([64], low=1)
    """Shape of one example."""
    classes: int = setting(10, low=2)
    separation: float = setting(2.0, above=0)
    """Length of a class mean in units of the noise: larger is easier."""
    seed: int = setting(0, low=0, high=2**31 - 1)
    """Decides the class means."""


DataConfig: TypeAlias = EmbeddedDataConfig | SyntheticDataConfig
