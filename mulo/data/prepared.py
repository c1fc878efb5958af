"""Datasets that do not fit into memory, prepared once as ArrayRecord files: any example can be read by its number.

A builder of TensorFlow Datasets writes them into mulo's cache folder, without TensorFlow; they are named by a
fingerprint of the published files, and made anew when those are exchanged.
"""

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from mulo import cache
from mulo.data.formats import Part
from mulo.data.moments import histogram
from mulo.data.published import Published
from mulo.errors import DataError


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
        found = self._source.__getitems__([int(index) for index in indices])
        return [(record["image"], np.array(record["label"], np.int32)) for record in found]


def prepare(found: Published) -> tuple[Mapping[str, Records], np.ndarray]:
    """Both splits by name, and how often each of 256 values occurs in the training images; written if they are new.

    Raises DataError if a published file is damaged or the cache folder cannot hold the examples.
    """
    folder = cache.folder() / "datasets" / f"{found.name}-{found.fingerprint}"
    try:
        with cache.locked(folder):
            if not folder.exists():
                _write(found, folder)
    except OSError as error:
        raise DataError(
            f"{found.name} cannot be prepared in {folder}: {error}. Set XDG_CACHE_HOME to a folder with room for the "
            "dataset, or data.in_memory_gib to more than it takes."
        ) from error
    builder = tfds.builder_from_directory(folder)
    splits = {split: Records(builder.as_data_source(split)) for split in ("train", "test")}
    return splits, np.array(builder.info.metadata["histogram"])


def _write(found: Published, folder: Path) -> None:
    """Into another folder first, so that what is there is whole."""
    print(f"Preparing {found.name} for streaming, once, in {folder}.", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        builder = PublishedImages(found, scratch)
        with _quiet():
            builder.download_and_prepare()
        shutil.move(str(builder.data_dir), folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class PublishedImages(tfds.core.GeneratorBasedBuilder):
    """Writes images and labels in their published order."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None  # nothing is downloaded: TFDS would look for checksums, through a package that it does not require

    def __init__(self, found: Published, folder: str) -> None:
        self._found = found
        super().__init__(data_dir=folder, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        # As bytes an image is written and read five times as fast as number by number.
        image = tfds.features.Tensor(
            shape=self._found.input_shape, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
        )
        features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.Scalar(np.int32)})
        metadata = tfds.core.MetadataDict(histogram=[0] * 256)
        return tfds.core.DatasetInfo(builder=self, features=features, metadata=metadata, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator[tuple[int, Mapping[str, Any]]]]:
        del dl_manager
        return {"train": self._train_examples(), "test": self._generate_examples(self._found.test)}

    def _train_examples(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from self._generate_examples(self._found.train)
        self.info.metadata["histogram"] = self._counts.tolist()

    def _generate_examples(self, parts: Sequence[Part]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        self._counts, number = np.zeros(256, np.int64), 0
        console = Console(stderr=True, quiet=not sys.stderr.isatty())
        for part in track(parts, self._found.name, console=console, transient=True):
            images, labels = part.read()
            self._counts += histogram(images)
            for image, label in zip(images, labels, strict=True):
                yield number, {"image": np.ascontiguousarray(image), "label": int(label)}
                number += 1
