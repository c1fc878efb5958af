"""Image datasets from their published files: in memory where they fit, else streamed.

What fits is read from the published files at every start: that takes seconds, and nothing is made on disk. What is
streamed is prepared once (`prepared`), because no published format gives an example by its number.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from mulo.config import ImageDataConfig
from mulo.data import published
from mulo.data.formats import Part
from mulo.data.moments import moments
from mulo.data.published import Published
from mulo.data.sources import SPLITS, in_memory, normalised
from mulo.types import Dataset

_KEPT: dict[tuple[ImageDataConfig, str], Dataset] = {}
"""The dataset loaded last: the parts of a job load the same one in turn, and it may be gigabytes."""


def load(config: ImageDataConfig) -> Dataset:
    """Images, uint8 on the device and normalised batch by batch, as the embedded ones are.

    Raises DataError if files are missing or damaged, ConfigError if a stream's window is larger than the dataset.
    """
    files = _find(config)
    key = (config, files.fingerprint)
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = _loaded(config, files)
    return _KEPT[key]


def _find(config: ImageDataConfig) -> Published:
    if files := published.find(config):
        return files
    from mulo.data import download

    return download.fashion_mnist()


def _loaded(config: ImageDataConfig, files: Published) -> Dataset:
    counts = {split: [part.size() for part in getattr(files, split)] for split in SPLITS}
    size = sum(sum(sizes) for sizes in counts.values()) * math.prod(files.input_shape)
    if size > config.in_memory_gib * 2**30:
        return _streamed(config, files)
    return in_memory(files.name, _whole(files, counts), files.classes)


def _whole(files: Published, counts: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    whole: dict[str, np.ndarray] = {}
    for split in SPLITS:
        images, labels = _concatenated(getattr(files, split), counts[split], files.input_shape)
        whole |= {f"{split}_images": images, f"{split}_labels": labels}
    return whole


def _concatenated(
    parts: Sequence[Part], counts: Sequence[int], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """All parts, copied one after the other so that no example is in memory twice."""
    images, labels = np.empty((sum(counts), *shape), np.uint8), np.empty(sum(counts), np.int32)
    start = 0
    for part, count in zip(parts, counts, strict=True):
        rows = slice(start, start + count)
        images[rows], labels[rows] = part.read()
        start += count
    return images, labels


def _streamed(config: ImageDataConfig, files: Published) -> Dataset:
    # TensorFlow Datasets and Grain take seconds to import, and most jobs need neither.
    from mulo.data.prepared import prepare
    from mulo.data.streams import stream

    splits, counts = prepare(files)
    mean, std = moments(counts)
    decode = partial(normalised, mean=mean, std=std)
    return stream(files.name, splits, config, kind="images", classes=files.classes, decode=decode)
