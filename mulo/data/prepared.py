"""Datasets that do not fit into memory, prepared once as ArrayRecord files: any example can be read by its number.

TensorFlow Datasets' `SequentialWriter` writes them into mulo's cache folder, without TensorFlow (its builders need that
beyond a gigabyte, to sort); they are named by a fingerprint of the published files, and made anew when those change.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from mulo import cache
from mulo.data.moments import histogram
from mulo.data.published import Published
from mulo.data.sources import SPLITS
from mulo.errors import DataError

_PER_FILE = 100_000
"""Examples."""


class Records:
    """The examples of one split: image uint8 [*input_shape] and label int32 of each."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Several at once: faster than one by one."""
        records = self._source.__getitems__([int(index) for index in indices])
        return [(record["image"], np.array(record["label"], np.int32)) for record in records]


def prepare(files: Published) -> tuple[Mapping[str, Records], np.ndarray]:
    """Both splits by name, and how often each of 256 values occurs in the training images; written if they are new.

    Raises DataError if a published file is damaged or the cache folder cannot hold the examples.
    """
    folder = cache.folder() / "datasets" / f"{files.name}-{files.fingerprint}"
    try:
        with cache.locked(folder):
            if not folder.exists():
                _write(files, folder)
    except OSError as error:
        raise DataError(
            f"{files.name} cannot be prepared in {folder}: {error}. Set XDG_CACHE_HOME to a folder with room for the "
            "dataset, or data.in_memory_gib to more than it takes."
        ) from error
    builder = tfds.builder_from_directory(folder)
    splits = {split: Records(builder.as_data_source(split)) for split in SPLITS}
    return splits, np.array(builder.info.metadata["histogram"])


def _write(files: Published, folder: Path) -> None:
    """Into another folder first, so that `folder` is either complete or missing."""
    print(f"Preparing {files.name} for streaming, once, in {folder}.", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        partial = Path(scratch) / folder.name
        partial.mkdir()
        _write_splits(files, partial)
        partial.rename(folder)


def _write_splits(files: Published, folder: Path) -> None:
    info, counts = _info(files, folder), np.zeros(256, np.int64)
    writer = tfds.core.SequentialWriter(info, _PER_FILE, file_format="array_record")
    writer.initialize_splits(list(SPLITS))
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    parts = [(split, part) for split in SPLITS for part in getattr(files, split)]
    for split, part in track(parts, f"Preparing {files.name}", console=console, transient=True):
        images, labels = part.read()
        counts += histogram(images) if split == "train" else 0
        examples = zip(np.ascontiguousarray(images), labels.tolist(), strict=True)
        writer.add_examples({split: ({"image": image, "label": label} for image, label in examples)})
    info.metadata["histogram"] = counts.tolist()
    writer.close_all()


def _info(files: Published, folder: Path) -> tfds.core.DatasetInfo:
    # As bytes an image is written and read several times as fast as number by number.
    image = tfds.features.Tensor(shape=files.input_shape, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)
    return tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(files.name, tfds.core.Version("1.0.0"), str(folder), __name__),
        features=tfds.features.FeaturesDict({"image": image, "label": tfds.features.Scalar(np.int32)}),
        metadata=tfds.core.MetadataDict(histogram=[0] * 256),
        disable_shuffling=True,
    )
