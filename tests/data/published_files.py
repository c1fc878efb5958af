"""Writes small datasets byte by byte in the formats in which the large ones are published."""

import gzip
import io
import struct
import tarfile

import numpy as np

from mulo.data.published import IDX_FILES


def images(count, *shape, seed=0):
    """Random bytes [count, *shape]: every pixel's place is seen."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def idx_bytes(array):
    """Magic number (two zeros, 8 for uint8, rank), big-endian sizes, values."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def fashion_mnist(folder, train=12, test=6, gzipped=True):
    """Four IDX files; returns images and labels by split."""
    folder.mkdir(exist_ok=True)
    made = {}
    for names, split, count in ((IDX_FILES[:2], "train", train), (IDX_FILES[2:], "test", test)):
        made[split] = images(count, 28, 28, seed=count), np.arange(count, dtype=np.uint8) % 10
        for name, array in zip(names, made[split], strict=True):
            content = idx_bytes(array)
            (folder / (f"{name}.gz" if gzipped else name)).write_bytes(gzip.compress(content) if gzipped else content)
    return made


def cifar_bytes(pixels, labels):
    """Records of a label byte, then 1024 red, 1024 green and 1024 blue bytes, row by row."""
    records = b""
    for image, label in zip(pixels, labels, strict=True):
        records += bytes([label])
        for channel in range(3):
            records += bytes(int(image[row, column, channel]) for row in range(32) for column in range(32))
    return records


def cifar10(folder, per_file=3):
    """Six binary files; returns images and labels by split."""
    folder.mkdir(exist_ok=True)
    pixels, labels = images(6 * per_file, 32, 32, 3), np.arange(6 * per_file) % 10
    for i, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        own = slice(i * per_file, (i + 1) * per_file)
        (folder / name).write_bytes(cifar_bytes(pixels[own], labels[own]))
    cut = 5 * per_file
    return {"train": (pixels[:cut], labels[:cut]), "test": (pixels[cut:], labels[cut:])}


def archive(folder, path):
    """The folder's files as in cifar-10-binary.tar.gz, in another order than that of their numbers."""
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(folder.iterdir(), reverse=True):
            info, content = tarfile.TarInfo(f"cifar-10-batches-bin/{file.name}"), file.read_bytes()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def imagenet(folder, side, per_file=2):
    """Eleven npz files of rows of three planes and labels from 1; returns images and labels (from 0) by split."""
    folder.mkdir(exist_ok=True)
    pixels, labels = images(11 * per_file, side, side, 3), np.arange(11 * per_file) * 45 % 1000
    labels[0], labels[-1] = 0, 999
    for i, name in enumerate([*(f"train_data_batch_{k}" for k in range(1, 11)), "val_data"]):
        own = slice(i * per_file, (i + 1) * per_file)
        planes = np.stack([[image[..., channel].reshape(-1) for channel in range(3)] for image in pixels[own]])
        np.savez(folder / f"{name}.npz", data=planes.reshape(per_file, -1), labels=labels[own] + 1)
    cut = 10 * per_file
    return {"train": (pixels[:cut], labels[:cut]), "test": (pixels[cut:], labels[cut:])}
