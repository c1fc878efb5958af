"""Image datasets as their authors publish them: which files, where they are, what to do if they are missing.

Needs neither JAX nor TensorFlow Datasets, so that a job without its data ends at once.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mulo import cache
from mulo.config import ImageDataConfig
from mulo.data import formats
from mulo.data.formats import Part
from mulo.errors import DataError

IDX_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
"""Where the authors of Fashion-MNIST publish it, as TensorFlow Datasets names it too."""
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
_CIFAR_FOLDER = "cifar-10-batches-bin"
_CIFAR_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_CIFAR_TEST = ("test_batch.bin",)
_NPZ_TRAIN = tuple(f"train_data_batch_{i}.npz" for i in range(1, 11))
_NPZ_TEST = "val_data.npz"


class Published(NamedTuple):
    """A dataset's files, found but not read."""

    name: str
    input_shape: tuple[int, ...]
    classes: int
    train: Sequence[Part]
    test: Sequence[Part]
    files: Sequence[Path]

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when a file is exchanged: of names, sizes and times of change."""
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files]
        return hashlib.sha256(json.dumps([self.name, stats]).encode()).hexdigest()[:16]

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by name; read whole, so a gigabyte takes about a second."""
        digests = {}
        for path in self.files:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return digests


def find(config: ImageDataConfig) -> Published | None:
    """The files of a dataset; None where they are not on this machine but can be downloaded.

    Raises DataError that says what to get, where to put it and which key to set.
    """
    if config.path is not None and not Path(config.path).exists():
        raise DataError(f"data.path={config.path} does not exist. {_WANTED[config.name]} {MEANWHILE}")
    return _FINDERS[config.name](None if config.path is None else Path(config.path).absolute())


def download_folder() -> Path:
    """Where downloaded files are kept."""
    return cache.folder() / "downloads" / "fashion_mnist"


def _fashion_mnist(path: Path | None) -> Published | None:
    if path is not None:
        return fashion_mnist_in(path)
    for folder in (DEBIAN_FOLDER, download_folder()):
        if all(_idx_file(folder, name).exists() for name in IDX_FILES):
            return fashion_mnist_in(folder)
    return None


def fashion_mnist_in(folder: Path) -> Published:
    """Fashion-MNIST from a folder of its four IDX files, gzipped or not."""
    files = [_idx_file(folder, name) for name in IDX_FILES]
    _all_there("fashion_mnist", files)
    part = partial(formats.idx, side=28, classes=10)
    return Published("fashion_mnist", (28, 28), 10, [part(files[0], files[1])], [part(files[2], files[3])], files)


def _idx_file(folder: Path, name: str) -> Path:
    raw = folder / name
    return raw if raw.exists() else folder / f"{name}.gz"


def _cifar10(path: Path | None) -> Published:
    if path is None:
        raise DataError(f"data=cifar10 needs data.path. {_WANTED['cifar10']} {MEANWHILE}")
    candidates = [path / CIFAR_ARCHIVE, path / _CIFAR_FOLDER, path]
    source = next((candidate for candidate in candidates if candidate.exists()), path) if path.is_dir() else path
    make = partial(Published, "cifar10", (32, 32, 3), 10)
    if source.is_file():
        _refuse_pickles(source, "cifar10", "cifar-10-python*")
        train, test = (formats.cifar_archive(source, names, 10) for names in (_CIFAR_TRAIN, _CIFAR_TEST))
        return make([train], [test], [source])
    files = [source / name for name in (*_CIFAR_TRAIN, *_CIFAR_TEST)]
    _refuse_pickles(source, "cifar10", "data_batch_1", "cifar-10-python*", "cifar-10-batches-py")
    _all_there("cifar10", files)
    return make([formats.cifar(file, 10) for file in files[:-1]], [formats.cifar(files[-1], 10)], files)


def _imagenet(side: int, path: Path | None) -> Published:
    name = f"imagenet{side}"
    if path is None:
        raise DataError(f"data={name} needs data.path. {_WANTED[name]} {MEANWHILE}")
    files = [path / file for file in (*_NPZ_TRAIN, _NPZ_TEST)]
    _refuse_pickles(path, name, "train_data_batch_1")
    _all_there(name, files)
    parts = [formats.npz(file, side, 1000) for file in files]
    return Published(name, (side, side, 3), 1000, parts[:-1], parts[-1:], files)


_FINDERS: dict[str, Callable[[Path | None], Published | None]] = {
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "imagenet32": partial(_imagenet, 32),
    "imagenet64": partial(_imagenet, 64),
}


def _all_there(name: str, files: Sequence[Path]) -> None:
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{files[0].parent} has no {', '.join(missing)}. {_WANTED[name]} {MEANWHILE}")


def _refuse_pickles(path: Path, name: str, *patterns: str) -> None:
    """Raises DataError for pickled versions: unpickling runs any program that the file holds."""
    for file in path.parent.glob(path.name) if path.is_file() else path.glob("*"):
        if any(file.match(pattern) for pattern in patterns):
            raise DataError(f"{file} is the pickled version, which mulo does not open. {_WANTED[name]} {MEANWHILE}")


MEANWHILE = "Until then data=fashion_mnist_8x8 needs no files."


def _imagenet_wanted(side: int) -> str:
    return (
        f"Download the npz version of ImageNet {side}x{side} (train and validation) from https://image-net.org/download-images.php"
        f" (free registration), unpack {_NPZ_TRAIN[0]} … {_NPZ_TRAIN[-1]} and {_NPZ_TEST} into one folder and set"
        " data.path=<that folder>."
    )


_WANTED = {
    "fashion_mnist": (
        f"Download {', '.join(f'{name}.gz' for name in IDX_FILES)} from {IDX_URL} (or install Debian's package "
        "dataset-fashion-mnist), put them into one folder and set data.path=<that folder>."
    ),
    "cifar10": (
        f"Download the binary version, https://www.cs.toronto.edu/~kriz/{CIFAR_ARCHIVE}, and set "
        "data.path=<that file, or the folder that it is extracted to>."
    ),
    "imagenet32": _imagenet_wanted(32),
    "imagenet64": _imagenet_wanted(64),
}
"""What to do where files are missing, in a sentence."""
