"""Examples for the optimizees, on the device."""

from functools import cache
from typing import TYPE_CHECKING, assert_never

from mulo.config import (
    DataConfig,
    EmbeddedDataConfig,
    ImageDataConfig,
    LM1BDataConfig,
    StdlibTextDataConfig,
    SyntheticDataConfig,
)

if TYPE_CHECKING:
    from mulo.types import Dataset

# What loads JAX is imported where it is used: `check` runs before.


def check(config: DataConfig) -> None:
    """Raises DataError that says what to get where a dataset's files are missing; does not load JAX."""
    if isinstance(config, ImageDataConfig):
        from mulo.data import published

        published.find(config)
    if isinstance(config, LM1BDataConfig):
        from mulo.data import lm1b_files

        lm1b_files.find(config.path)


def digests(config: DataConfig) -> dict[str, str]:
    """SHA-256 of what the dataset is read from, by name, where a configuration does not decide it."""
    from mulo.data import lm1b, published, stdlib_text

    match config:
        case ImageDataConfig():
            files = published.find(config)
            return files.digests() if files else {}
        case StdlibTextDataConfig():
            return {config.name: stdlib_text.read().digest}
        case LM1BDataConfig():
            return {config.name: lm1b.digest(config)}
        case _:
            return {}


def load(config: DataConfig) -> "Dataset":
    """Builds the dataset that the settings describe; raises DataError if a file is missing or damaged."""
    from mulo.data import images, lm1b, sources, stdlib_text

    match config:
        case EmbeddedDataConfig():
            return _embedded(config.name)
        case SyntheticDataConfig():
            return sources.synthetic(config)
        case ImageDataConfig():
            return images.load(config)
        case StdlibTextDataConfig():
            return stdlib_text.load(config)
        case LM1BDataConfig():
            return lm1b.load(config)
        case _:
            assert_never(config)


@cache
def _embedded(name: str) -> "Dataset":
    """One copy on the device for all methods and tasks of a job."""
    from mulo.data import embedded, sources

    return sources.in_memory(name, embedded.read())


__all__ = ["check", "digests", "load"]
