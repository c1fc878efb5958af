"""Image datasets from files written byte by byte in the published formats: what is read, what is refused."""

import gzip
import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.core.download.checksums import UrlInfo

from mulo.config import ImageDataConfig, parse
from mulo.data import check, download, load, published
from mulo.errors import ConfigError, DataError
from mulo.launch import preflight
from mulo.process.run_directory import open_run

from . import published_files as files

STREAMED = {"in_memory_gib": 0.0, "window": 8, "block": 4}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mulo"


def written(name, folder):
    if name == "fashion_mnist":
        return files.fashion_mnist(folder)
    return files.cifar10(folder) if name == "cifar10" else files.imagenet(folder, int(name[-2:]))


def config(name, path, **changes):
    return ImageDataConfig(name=name, path=None if path is None else str(path), **changes)


def assert_holds(dataset, made):
    """Pixels and labels as they were written, normalised by the training images' moments."""
    mean, std = made["train"][0].mean() / 255, made["train"][0].std() / 255
    for split, (pixels, labels) in made.items():
        inputs, found = dataset.fixed(dataset.arrays, split, 1000)
        np.testing.assert_allclose(inputs, (pixels / 255 - mean) / std, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found, labels)


SHAPES = {
    "fashion_mnist": ((28, 28), 10),
    "cifar10": ((32, 32, 3), 10),
    "imagenet32": ((32, 32, 3), 1000),
    "imagenet64": ((64, 64, 3), 1000),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_written_is_read(name, tmp_path):
    made = written(name, tmp_path / "data")
    dataset = load(config(name, tmp_path / "data"))
    assert (dataset.name, dataset.kind, dataset.input_shape, dataset.classes) == (name, "images", *SHAPES[name])
    assert_holds(dataset, made)
    assert str(dataset.arrays["train"][0].dtype) == "uint8"


@pytest.mark.parametrize("name", ["fashion_mnist", "imagenet32"])
def test_a_stream_holds_what_memory_would(name, tmp_path):
    made = written(name, tmp_path / "data")
    dataset = load(config(name, tmp_path / "data", **STREAMED))
    assert (dataset.name, dataset.kind, dataset.input_shape, dataset.classes) == (name, "images", *SHAPES[name])
    assert_holds(dataset, made)
    pixels, labels = dataset.arrays["window"]
    numbers = [
        np.flatnonzero((made["train"][0] == image).all(axis=(1, 2, *range(3, image.ndim + 1))))
        for image in np.asarray(pixels)
    ]
    numbers = np.concatenate(numbers)
    assert len(set(numbers.tolist())) == len(numbers) == 8
    np.testing.assert_array_equal(labels, made["train"][1][numbers])
    inputs, _ = dataset.sample(dataset.arrays, jax.random.key(0), 5)
    assert (inputs.shape, str(inputs.dtype)) == ((5, *SHAPES[name][0]), "float32")


def test_size_decides_whether_a_dataset_streams(tmp_path):
    files.fashion_mnist(tmp_path / "data")
    gib = 18 * 28 * 28 / 2**30
    for limit, streams in ((gib * 1.001, False), (gib * 0.999, True)):
        dataset = load(config("fashion_mnist", tmp_path / "data", **STREAMED | {"in_memory_gib": limit}))
        assert ("window" in dataset.arrays) == streams


def test_raw_and_gzipped_idx_files_are_equal(tmp_path):
    made = files.fashion_mnist(tmp_path / "data", gzipped=False)
    assert_holds(load(config("fashion_mnist", tmp_path / "data")), made)


@pytest.mark.parametrize("where", ["file", "folder", "parent"])
def test_cifar10_is_found_as_an_archive_and_beside_it(tmp_path, where):
    folder = tmp_path / ("cifar-10-batches-bin" if where == "parent" else "data")
    made, path = files.cifar10(folder), tmp_path
    if where != "parent":
        path = tmp_path / published.CIFAR_ARCHIVE
        files.archive(folder, path)
        path = path if where == "file" else tmp_path
    assert_holds(load(config("cifar10", path)), made)


def test_a_dataset_is_loaded_once_until_its_files_change(tmp_path):
    files.fashion_mnist(tmp_path / "data")
    settings = config("fashion_mnist", tmp_path / "data")
    first = load(settings)
    assert load(settings) is first
    made = files.fashion_mnist(tmp_path / "data", train=13)
    assert_holds(load(settings), made)


def test_a_stream_is_prepared_once_and_anew_when_its_files_change(tmp_path, own_cache, capfd):
    files.fashion_mnist(tmp_path / "data")
    for block in (4, 2):
        load(config("fashion_mnist", tmp_path / "data", **STREAMED | {"block": block}))
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"Preparing fashion_mnist for streaming, once, in {next((own_cache / 'datasets').glob('*[0-9a-f]'))}."
    ]
    made = files.fashion_mnist(tmp_path / "data", train=13)
    assert_holds(load(config("fashion_mnist", tmp_path / "data", **STREAMED)), made)


def test_window_block_and_seed_act(tmp_path):
    files.fashion_mnist(tmp_path / "data")

    def labels(**changes):
        shown = load(config("fashion_mnist", tmp_path / "data", **STREAMED | changes)).at(1)["window"][1]
        return shown.tolist()

    assert len(labels()) == 8
    assert len(labels(window=12)) == 12
    assert len({str(labels(**changes)) for changes in ({}, {"block": 2}, {"order_seed": 1})}) == 3


def test_a_window_is_whole_blocks_of_the_dataset(tmp_path):
    files.fashion_mnist(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"data\.window=16 is invalid; expected at most the 12 training"):
        load(config("fashion_mnist", tmp_path / "data", **STREAMED | {"window": 16}))
    with pytest.raises(ConfigError, match=r"data\.window=10 is invalid; expected a multiple of data\.block=4"):
        ImageDataConfig(window=10, block=4).check_together("data.")


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def raw_labels(path):
    path.write_bytes(gzip.compress(files.idx_bytes(np.arange(5, dtype=np.uint8))))


def high_labels(path):
    path.write_bytes(gzip.compress(files.idx_bytes(np.full(12, 10, np.uint8))))


def high_record(path):
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])


def pickled(path):
    np.savez(path, data=np.array([{}] * 2, dtype=object), labels=np.array([1, 2]))


def narrow(path):
    np.savez(path, data=np.zeros((2, 3 * 16 * 16), np.uint8), labels=np.array([1, 2]))


def without_labels(path):
    np.savez(path, data=np.zeros((2, 3 * 32 * 32), np.uint8))


def from_zero(path):
    np.savez(path, data=np.zeros((2, 3 * 32 * 32), np.uint8), labels=np.array([0, 2]))


DAMAGED = [
    ("fashion_mnist", "train-images-idx3-ubyte.gz", cut, "cannot be read as a gzip file"),
    ("fashion_mnist", "t10k-images-idx3-ubyte.gz", flip, "cannot be read as a gzip file"),
    ("fashion_mnist", "train-labels-idx1-ubyte.gz", raw_labels, "holds 5 labels for 12 images"),
    ("fashion_mnist", "train-labels-idx1-ubyte.gz", high_labels, "holds labels outside 0 … 9"),
    ("cifar10", "data_batch_3.bin", cut, "holds 9210 bytes, no whole number of records of 3073"),
    ("cifar10", "test_batch.bin", high_record, "holds labels outside 0 … 9"),
    ("imagenet32", "train_data_batch_7.npz", cut, "cannot be read as an npz file"),
    ("imagenet32", "train_data_batch_7.npz", flip, "cannot be read as an npz file"),
    ("imagenet32", "val_data.npz", pickled, "cannot be read as an npz file"),
    ("imagenet32", "val_data.npz", narrow, r"holds uint8 \(2, 768\); expected uint8 \(any, 3072\)"),
    ("imagenet32", "val_data.npz", without_labels, "cannot be read as an npz file"),
    ("imagenet32", "val_data.npz", from_zero, "holds labels outside 1 … 1000"),
]


@pytest.mark.parametrize(("name", "file", "damage", "said"), DAMAGED)
def test_damaged_files_are_named(tmp_path, name, file, damage, said):
    written(name, tmp_path / "data")
    damage(tmp_path / "data" / file)
    with pytest.raises(DataError, match=said) as caught:
        load(config(name, tmp_path / "data"))
    assert str(tmp_path / "data" / file) in str(caught.value)


def test_a_damaged_file_leaves_no_half_prepared_stream(tmp_path, own_cache):
    written("cifar10", tmp_path / "data")
    cut(tmp_path / "data" / "data_batch_3.bin")
    with pytest.raises(DataError, match=r"data_batch_3\.bin"):
        load(config("cifar10", tmp_path / "data", **STREAMED))
    assert [path.suffix for path in (own_cache / "datasets").iterdir()] == [".lock"]


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_archive_is_named(tmp_path, damage):
    files.cifar10(tmp_path / "data")
    path = tmp_path / published.CIFAR_ARCHIVE
    files.archive(tmp_path / "data", path)
    damage(path)
    with pytest.raises(DataError, match=re.escape(f"{path} cannot be read as a gzipped tar archive")):
        load(config("cifar10", path))


def test_an_archive_without_a_batch_is_refused(tmp_path):
    files.cifar10(tmp_path / "data")
    (tmp_path / "data" / "data_batch_4.bin").unlink()
    files.archive(tmp_path / "data", tmp_path / published.CIFAR_ARCHIVE)
    with pytest.raises(DataError, match=r"holds no data_batch_4\.bin"):
        load(config("cifar10", tmp_path))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_missing_files_say_what_to_get_and_where_to_put_it(name, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        check(config(name, tmp_path / folder))
    said = str(caught.value)
    for part in ("http", "data.path=<", "data=fashion_mnist_8x8", str(tmp_path / folder)):
        assert part in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["cifar10", "imagenet32", "imagenet64"])
def test_a_dataset_that_cannot_be_downloaded_needs_a_path(name):
    with pytest.raises(DataError, match=rf"data={name} needs data\.path\. Download the (binary|npz) version"):
        check(config(name, None))


@pytest.mark.parametrize(
    ("name", "file"),
    [("cifar10", "data_batch_1"), ("cifar10", "cifar-10-python.tar.gz"), ("imagenet64", "train_data_batch_1")],
)
def test_pickles_are_not_opened(name, file, tmp_path):
    (tmp_path / file).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    paths = [tmp_path] + ([tmp_path / file] if file.endswith("gz") else [])
    for path in paths:
        with pytest.raises(DataError, match=rf"{file} is the pickled version, which mulo does not open\. Download"):
            check(config(name, path))


def test_files_are_checked_without_loading_jax(tmp_path):
    code = (
        "import sys; from mulo.config import ImageDataConfig; from mulo import data\n"
        "try: data.check(ImageDataConfig(name='cifar10', path='absent'))\n"
        "except Exception as error: print(type(error).__name__, [m for m in ('jax', 'tensorflow_datasets', 'grain') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "DataError []"


def test_a_job_without_its_data_is_refused_before_it_starts(tmp_path):
    raw = {"data": {"name": "cifar10", "path": str(tmp_path)}, "run_dir": str(tmp_path / "run")}
    with pytest.raises(DataError, match=r"has no data_batch_1\.bin"):
        preflight.resolve(raw, ())


def test_a_run_directory_notes_what_the_files_hold(tmp_path):
    files.fashion_mnist(tmp_path / "data")
    raw = {"data": {"name": "fashion_mnist", "path": str(tmp_path / "data")}, "run_dir": str(tmp_path / "run")}
    noted = json.loads((open_run(parse(raw)) / "data.json").read_text(encoding="utf-8"))
    assert noted == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "data").iterdir()}
    raw = {"run_dir": str(tmp_path / "embedded")}
    assert not (open_run(parse(raw)) / "data.json").exists()


@pytest.mark.slow
def test_a_stream_takes_memory_for_its_window_and_not_for_its_dataset(tmp_path):
    """740 MB of images through a window of 101 MB, of which old and new are there at a time."""
    command = [sys.executable, "-m", "tests.data.stream_memory", "60000", "60"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=Path(__file__).parents[2])
    assert json.loads(done.stdout)["growth"] < 300e6


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """The files' server, its address, and what TFDS would register of them."""
    made = files.fashion_mnist(tmp_path / "published")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "published"))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_port}/"
    infos = {}
    for path in (tmp_path / "published").iterdir():
        content = path.read_bytes()
        infos[url + path.name] = UrlInfo(len(content), hashlib.sha256(content).hexdigest(), path.name)
    yield url, infos, made
    httpd.shutdown()
    httpd.server_close()


def test_a_download_is_kept_under_its_checksums(server, monkeypatch, capfd):
    url, infos, made = server
    monkeypatch.setattr(published, "DEBIAN_FOLDER", published.Path("absent"))
    fetch = download.fashion_mnist
    monkeypatch.setattr(download, "fashion_mnist", lambda: fetch(url, infos))
    check(config("fashion_mnist", None))
    assert_holds(load(config("fashion_mnist", None)), made)
    monkeypatch.setattr(download, "fashion_mnist", None)
    assert_holds(load(config("fashion_mnist", None)), made)  # it is there: nobody is asked
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("Downloading Fashion-MNIST (30 MB) from")
    assert len(said.err.splitlines()) == 1


def test_a_download_that_fails_says_what_to_do(server):
    url, infos, _ = server
    wrong = {name: UrlInfo(info.size, "0" * 64, info.filename) for name, info in infos.items()}
    for at, registered, reason in ((url, wrong, "wrong checksum"), ("http://127.0.0.1:1/", infos, "refused")):
        with pytest.raises(DataError, match=rf"cannot be downloaded from {at}: .*{reason}.* data\.path=<") as caught:
            download.fashion_mnist(at, registered)
        assert "data=fashion_mnist_8x8" in str(caught.value)


def test_checksums_are_registered_under_the_published_addresses():
    infos = checksums.load_url_infos(tfds.core.tfds_path() / "url_checksums" / "fashion_mnist.txt")
    assert {published.IDX_URL + f"{name}.gz" for name in published.IDX_FILES} == set(infos)
