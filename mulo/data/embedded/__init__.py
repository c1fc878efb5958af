"""Fashion-MNIST averaged to 8×8 pixels, shipped with mulo; its origin is in ATTRIBUTION.md."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from mulo.errors import DataError

PATH = Path(__file__).with_name("fashion_mnist_8x8.npz")
KEYS = ("train_images", "train_labels", "test_images", "test_labels")
"""Arrays of the file, in the order in which they are hashed."""
SHA256 = "c7d046b53133f86c5125200a186aab84996c46dbdc814dffad820c8da982a112"
"""What `digest` gives for the shipped arrays."""


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the bytes of the four arrays in the order of KEYS, as 64 hex digits."""
    checksum = hashlib.sha256()
    for key in KEYS:
        checksum.update(np.ascontiguousarray(arrays[key]).tobytes())
    return checksum.hexdigest()


@cache
def read(path: Path = PATH) -> Mapping[str, np.ndarray]:
    """Images uint8 [N, 8, 8] and labels uint8 [N] of train (60000) and test (10000), read once per process.

    Raises DataError if the file is missing or damaged; the zip format's own CRC guards each array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in KEYS}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"The embedded data {path} cannot be read: {error}. Reinstall mulo, or remake the file as "
            f"{path.with_name('ATTRIBUTION.md')} describes."
        ) from error
    for array in arrays.values():
        array.flags.writeable = False  # shared by every dataset of the process
    return arrays
