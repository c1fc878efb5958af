"""Examples for the optimizees, on the device."""

from typing import assert_never

from mulo.config import DataConfig, EmbeddedDataConfig, SyntheticDataConfig
from mulo.data import embedded
from mulo.data.sources import InMemory, Synthetic, in_memory, synthetic
from mulo.types import Dataset


def load(config: DataConfig) -> Dataset:
    """Builds the dataset that the settings describe; raises DataError if its file is missing or damaged."""
    match config:
        case EmbeddedDataConfig():
            return in_memory(config.name, embedded.read())
        case SyntheticDataConfig():
            return synthetic(config)
        case _:
            assert_never(config)


__all__ = ["InMemory", "Synthetic", "load"]
