"""Makes the embedded fashion_mnist_8x8.npz from the four published IDX files of Fashion-MNIST.

    python -m tests.data.make_fashion_mnist_8x8 FOLDER

FOLDER holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz. Every run writes the same bytes.
"""

import argparse
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mulo.data.embedded import KEYS, PATH, SHA256, digest
from mulo.data.formats import read_idx
from mulo.errors import DataError

SOURCES = {
    "train_images": ("train-images-idx3-ubyte.gz", (60000, 28, 28)),
    "train_labels": ("train-labels-idx1-ubyte.gz", (60000,)),
    "test_images": ("t10k-images-idx3-ubyte.gz", (10000, 28, 28)),
    "test_labels": ("t10k-labels-idx1-ubyte.gz", (10000,)),
}
"""File and shape from which each array is made."""


def main() -> int:
    """Reads the folder named on the command line and writes the file; returns the exit status."""
    parser = argparse.ArgumentParser(description="Makes fashion_mnist_8x8.npz from four IDX files.")
    parser.add_argument("folder", type=Path, help="folder with the four gzipped IDX files")
    try:
        arrays = build(parser.parse_args().folder)
        check(arrays)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    write(arrays, PATH)
    print(f"{PATH}: {PATH.stat().st_size} bytes")
    return 0


def build(folder: Path) -> dict[str, np.ndarray]:
    """Images uint8 [N, 8, 8] and labels uint8 [N] of both splits. Raises DataError as `read_idx` does."""
    raw = {key: read_idx(folder / SOURCES[key][0], SOURCES[key][1]) for key in KEYS}
    return {key: area_average(array) if array.ndim == 3 else array for key, array in raw.items()}


def area_average(images: np.ndarray) -> np.ndarray:
    """Averages uint8 [N, 28, 28] over areas of 3.5×3.5 pixels and rounds: uint8 [N, 8, 8]."""
    halves = half_pixels()
    sums = halves @ images.astype(np.int32) @ halves.T
    # 49 quarter pixels per area. An odd divisor leaves no ties, so rounding is exact.
    return ((2 * sums + 49) // (2 * 49)).astype(np.uint8)


def half_pixels() -> np.ndarray:
    """How many half pixels of each of 28 inputs lie in each of 8 outputs, 7 in all: int32 [8, 28]."""
    owner = np.arange(56) // 7
    return (owner[None] == np.arange(8)[:, None]).reshape(8, 28, 2).sum(axis=2, dtype=np.int32)


def check(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises DataError if the arrays are not the shipped ones: the files of MNIST have the same shapes."""
    actual = digest(arrays)
    if actual != SHA256:
        raise DataError(
            f"The arrays made have SHA-256 {actual}; expected {SHA256}: the IDX files are not "
            "the published Fashion-MNIST, or this script has changed. Nothing was written."
        )


def write(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes a compressed npz whose bytes depend on the arrays alone: a bare ZipInfo is dated 1980."""
    with zipfile.ZipFile(path, "w") as archive:
        for key in KEYS:
            member = io.BytesIO()
            np.lib.format.write_array(member, arrays[key], allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy")
            archive.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    sys.exit(main())
