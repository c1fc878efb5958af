"""The shipped Fashion-MNIST 8×8: its checksum, the averaging that made it, and what is refused."""

import gzip
import os
import re
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from mulo.data import embedded
from mulo.errors import DataError
from tests.data import make_fashion_mnist_8x8 as make

IDX_FOLDER = Path(os.environ.get("MULO_FASHION_MNIST_DIR", "/usr/share/datasets/fashion-mnist"))


def idx(shape, values=None):
    """An IDX file of zeros, or of `values`, gzipped."""
    body = bytes(int(np.prod(shape))) if values is None else values
    return gzip.compress(bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body)


def test_checksum_of_the_shipped_arrays():
    assert embedded.digest(embedded.read()) == embedded.SHA256


def test_attribution_states_the_checksum():
    text = embedded.PATH.with_name("ATTRIBUTION.md").read_text(encoding="utf-8")
    assert re.findall(r"\b[0-9a-f]{64}\b", text) == [embedded.SHA256]


def test_licence_lies_beside_the_data():
    text = embedded.PATH.with_name("LICENSE").read_text(encoding="utf-8")
    assert "2017 Zalando SE" in text
    assert "Permission is hereby granted, free of charge" in text


def test_digest_sees_every_array():
    arrays = dict(embedded.read())
    for key in embedded.KEYS:
        changed = arrays[key].copy()
        changed.flat[-1] ^= 1
        assert embedded.digest(arrays | {key: changed}) != embedded.SHA256


def test_shapes_types_and_balanced_classes():
    arrays = embedded.read()
    assert {key: (a.shape, str(a.dtype)) for key, a in arrays.items()} == {
        "train_images": ((60000, 8, 8), "uint8"),
        "train_labels": ((60000,), "uint8"),
        "test_images": ((10000, 8, 8), "uint8"),
        "test_labels": ((10000,), "uint8"),
    }
    np.testing.assert_array_equal(np.bincount(arrays["train_labels"]), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(arrays["test_labels"]), [1000] * 10)


def test_reading_twice_shares_read_only_arrays():
    first, second = embedded.read(), embedded.read()
    assert first["train_images"] is second["train_images"]
    with pytest.raises(ValueError, match="read-only"):
        first["train_images"][0] = 0


def _damage(path, kind):
    if kind == "empty":
        path.touch()
    elif kind == "no zip":
        path.write_bytes(b"not a zip file")
    elif kind == "cut":
        path.write_bytes(embedded.PATH.read_bytes()[:100_000])
    elif kind == "bit flipped":
        content = bytearray(embedded.PATH.read_bytes())
        content[1_000_000] ^= 1
        path.write_bytes(content)
    elif kind == "array absent":
        np.savez(path, train_images=np.zeros(3, np.uint8))
    elif kind == "pickled":
        np.savez(path, **{key: np.array([{}], dtype=object) for key in embedded.KEYS})


@pytest.mark.parametrize("kind", ["missing", "empty", "no zip", "cut", "bit flipped", "array absent", "pickled"])
def test_missing_or_damaged_file_is_a_data_error(tmp_path, kind):
    path = tmp_path / "fashion_mnist_8x8.npz"
    _damage(path, kind)
    with pytest.raises(DataError, match=re.escape(str(path))):
        embedded.read(path)


def average_by_repetition(images):
    """Every pixel twice along both axes, then plain means over blocks of 7×7."""
    doubled = images.repeat(2, axis=1).repeat(2, axis=2).astype(np.float64)
    return np.rint(doubled.reshape(-1, 8, 7, 8, 7).mean(axis=(2, 4)))


def test_area_average_against_repetition():
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    averaged = make.area_average(images)
    assert averaged.dtype == np.uint8
    np.testing.assert_array_equal(averaged, average_by_repetition(images))


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_area_average_keeps_a_constant_image(value):
    averaged = make.area_average(np.full((1, 28, 28), value, np.uint8))
    np.testing.assert_array_equal(averaged, np.full((1, 8, 8), value))


def test_a_pixel_on_a_border_is_shared_by_both_areas():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 0, 3] = 245  # half of it in each of two areas of 12.25 pixels: 245 / 24.5 = 10
    np.testing.assert_array_equal(make.area_average(image)[0, 0], [10, 10, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"no gzip", "cannot be read"),
        (idx((2, 28, 28))[:-9], "cannot be read"),
        (gzip.compress(b""), "starts with ''"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), r"has shape \(0, 0, 0\)"),
        (idx((2,)), "starts with '00000801'"),
        (idx((2, 32, 32)), r"has shape \(2, 32, 32\)"),
        (idx((2, 28, 28), bytes(1567)), "holds 1567 values"),
        (idx((2, 28, 28), b""), "holds 0 values"),
        (idx((2, 28, 28), bytes(1569)), "holds 1569 values"),
    ],
    ids=["missing", "no gzip", "cut", "empty", "header", "labels", "size", "one less", "no values", "one more"],
)
def test_wrong_idx_files_are_refused(tmp_path, content, said):
    path = tmp_path / "images.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        make.read_idx(path, (2, 28, 28))
    assert str(path) in str(caught.value)


def test_read_idx_keeps_the_order_of_bytes(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(idx((2, 3), bytes([1, 2, 3, 4, 5, 255])))
    np.testing.assert_array_equal(make.read_idx(path, (2, 3)), [[1, 2, 3], [4, 5, 255]])


def test_writing_twice_gives_the_same_bytes_and_reads_back(tmp_path, monkeypatch):
    arrays = {key: array[:50] for key, array in embedded.read().items()}
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    make.write(arrays, first)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2_000_000_000))
    make.write(arrays, second)
    assert first.read_bytes() == second.read_bytes()
    for key, array in embedded.read(first).items():
        np.testing.assert_array_equal(array, arrays[key])


def test_other_data_than_the_shipped_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make, "build", lambda _: {key: np.zeros(3, np.uint8) for key in embedded.KEYS})
    target = tmp_path / "fashion_mnist_8x8.npz"
    monkeypatch.setattr(make, "PATH", target)
    monkeypatch.setattr("sys.argv", ["make", str(tmp_path)])
    assert make.main() == 1
    assert "not the published Fashion-MNIST" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.skipif(not IDX_FOLDER.is_dir(), reason=f"no Fashion-MNIST in {IDX_FOLDER}")
def test_remaking_from_the_published_files_gives_the_shipped_arrays():
    made, shipped = make.build(IDX_FOLDER), embedded.read()
    assert list(made) == list(embedded.KEYS)
    for key in embedded.KEYS:
        np.testing.assert_array_equal(made[key], shipped[key])
