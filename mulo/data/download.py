"""Fashion-MNIST from the network, by TensorFlow Datasets' download manager under the checksums that it registers."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from mulo import cache
from mulo.data.published import IDX_FILES, IDX_URL, MEANWHILE, Published, download_folder, fashion_mnist_in
from mulo.errors import DataError

_TIMEOUT = 10.0
"""Seconds to wait for the server."""


def fashion_mnist(url: str = IDX_URL, infos: Mapping[str, Any] | None = None) -> Published:
    """The four IDX files, downloaded into mulo's cache folder unless they are there.

    Args:
        url: the folder on the network.
        infos: sizes and SHA-256 by URL, TFDS's `UrlInfo`s; None: those that TFDS registers.

    Raises DataError that says how to get the files by hand.
    """
    names = [f"{name}.gz" for name in IDX_FILES]
    try:
        folder = download_folder()
        with cache.locked(folder):
            if not all((folder / name).exists() for name in names):
                print(f"Downloading Fashion-MNIST (30 MB) from {url} to {folder}, once.", file=sys.stderr)
                _reach(url)
                _fetch([url + name for name in names], folder, infos)
    except Exception as error:  # of network, disk and checksum: TFDS raises many kinds
        message = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise DataError(
            f"data=fashion_mnist is not on this machine, and cannot be downloaded from {url}: {message}. Put "
            f"{', '.join(names)} into a folder and set data.path=<that folder>, or install Debian's package "
            f"dataset-fashion-mnist. {MEANWHILE}"
        ) from error
    return fashion_mnist_in(folder)


def _reach(url: str) -> None:
    """Fails at once where there is no network: TFDS would try again for minutes."""
    address = urlparse(url)
    socket.create_connection((str(address.hostname), address.port or 80), _TIMEOUT).close()


def _fetch(urls: list[str], folder: Path, infos: Mapping[str, Any] | None) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    tfds.disable_progress_bar()
    infos = infos or checksums.load_url_infos(tfds.core.tfds_path() / "url_checksums" / "fashion_mnist.txt")
    manager = tfds.download.DownloadManager(
        download_dir=folder / "unnamed", url_infos=infos, force_checksums_validation=True
    )
    try:
        paths = manager.download(urls)
    except NonMatchingChecksumError as error:
        raise OSError("what is sent has a wrong checksum") from error
    for url, path in zip(urls, paths, strict=True):
        Path(path).replace(folder / url.rsplit("/", 1)[-1])
