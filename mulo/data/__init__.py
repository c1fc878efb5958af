"""Examples for the optimizees, on the device."""

from typing import TYPE_CHECKING, assert_never

from mulo.config import DataConfig, EmbeddedDataConfig, ImageDataConfig, SyntheticDataConfig

if TYPE_CHECKING:
    from mulo.types import Dataset

# What loads JAX is imported where it is used: `check` runs before.


def check(config: DataConfig) -> None:
    """Refuses a dataset whose files are not there, without loading JAX; raises DataError that says what to get."""
    if isinstance(config, ImageDataConfig):
        from mulo.data import published

        published.find(config)


def digests(config: DataConfig) -> dict[str, str]:
    """SHA-256 of every file that the dataset is read from, by name: what a configuration does not tell."""
    from mulo.data import published

    found = published.find(config) if isinstance(config, ImageDataConfig) else None
    return found.digests() if found else {}


def load(config: DataConfig) -> "Dataset":
    """Builds the dataset that the settings describe; raises DataError if a file is missing or damaged."""
    from mulo.data import embedded, images, sources

    match config:
        case EmbeddedDataConfig():
            return sources.in_memory(config.name, embedded.read())
        case SyntheticDataConfig():
            return sources.synthetic(config)
        case ImageDataConfig():
            return images.load(config)
        case _:
            assert_never(config)


__all__ = ["check", "digests", "load"]
