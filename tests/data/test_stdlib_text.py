"""The standard library as text: which files, which split, what tells versions apart, and tokens that lose nothing."""

import hashlib
import json.decoder
import os
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from mulo.config import StdlibTextDataConfig, parse_group
from mulo.data import load, stdlib_text, tokenizer
from mulo.errors import ConfigError, DataError

NAMES = [f"package/module_{number}.py" for number in range(40)] + ["top.py"]
OTHERS = [
    "site-packages/other.py",
    "dist-packages/other.py",
    "test/test_x.py",
    "package/tests/test_y.py",
    "package/idle_test/test_z.py",
    "package/__pycache__/cached.py",
    "_sysconfigdata__linux_.py",
    "config-3.11-linux/python-config.py",
    "sitecustomize.py",
    "package/data.txt",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stdlib_text.load.cache_clear()


@pytest.fixture
def library(tmp_path):
    """A library whose modules would end the process if one were imported."""
    for name in NAMES + OTHERS:
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"# {name}\nraise SystemExit".encode())
    return tmp_path / "lib"


def read(root):
    stdlib_text.read.cache_clear()
    return stdlib_text.read(root)


def held_out(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[:2], 16) < 26


def test_each_file_is_in_the_split_of_its_hash_in_the_order_of_paths(library):
    found = read(library)
    for split, wanted in ((found.train, False), (found.test, True)):
        names = [name for name in sorted(NAMES) if held_out(name) == wanted]
        assert names
        assert split.decode() == "".join(f"# {name}\nraise SystemExit\n" for name in names)


def test_the_digest_tells_contents_and_names_apart_and_nothing_else(library, tmp_path):
    first = read(library)
    (library / OTHERS[0]).write_text("changed", encoding="utf-8")
    os.utime(library / NAMES[0], (0, 0))
    library.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert read(moved) == first
    (moved / NAMES[0]).rename(moved / "package/renamed.py")
    renamed = read(moved).digest
    (moved / NAMES[1]).write_text("changed", encoding="utf-8")
    assert len({first.digest, renamed, read(moved).digest}) == 3


def test_the_digest_by_hand(tmp_path):
    names = [next(f"{n}.py" for n in range(999) if held_out(f"{n}.py") == wanted) for wanted in (True, False)]
    for name in names:
        (tmp_path / name).write_bytes(b"x = 1")
    expected = hashlib.sha256(b"".join(name.encode() + b"\0005\0x = 1" for name in sorted(names))).hexdigest()
    assert read(tmp_path).digest == expected


@pytest.mark.parametrize("kind", ["missing", "empty", "a zip file", "one file"])
def test_a_library_without_sources_is_refused(tmp_path, kind):
    root = tmp_path / "lib"
    if kind == "a zip file":
        root.write_bytes(b"PK")
    elif kind != "missing":
        root.mkdir()
    if kind == "one file":
        (root / "one.py").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=r"lib, and cannot: .* choose other data, such as data=synthetic"):
        read(root)


def test_a_file_that_cannot_be_read_is_named(library):
    (library / "gone.py").symlink_to(library / "nowhere.py")
    with pytest.raises(DataError, match=r"gone\.py"):
        read(library)


@pytest.fixture(scope="module")
def real():
    stdlib_text.read.cache_clear()
    return stdlib_text.read()


def test_this_pythons_library_is_real_text(real):
    size = len(real.train) + len(real.test)
    assert size > 5_000_000
    assert 0.05 < len(real.test) / size < 0.25
    source = Path(json.decoder.__file__).read_bytes()
    assert source in (real.test if held_out("json/decoder.py") else real.train)
    assert source not in (real.train if held_out("json/decoder.py") else real.test)
    assert Path(json.decoder.__file__).is_relative_to(sysconfig.get_paths()["stdlib"])


def test_bytes_are_the_files_own(real):
    dataset = load(StdlibTextDataConfig(sequence_length=16))
    assert (dataset.classes, dataset.input_shape, dataset.name) == (256, (16,), "stdlib_text")
    assert dataset.arrays["train"].dtype == np.uint8
    for split in ("train", "test"):
        assert np.asarray(dataset.arrays[split]).tobytes() == getattr(real, split)


@pytest.fixture(scope="module")
def trained(real):
    lines = real.train.decode().split("\n")[::20]
    return [tokenizer.train(lines, size) for size in (1024, 1024, 600)]


def test_training_is_deterministic_and_as_large_as_asked(trained):
    assert trained[0] == trained[1]
    assert [tokenizer.Tokenizer(model).vocabulary for model in trained] == [1024, 1024, 600]


HARD = [
    "",
    " ",
    "  two  ends  ",
    "\ta\r\n\n  b\x0c",
    "nul\0",
    "é漢字🎉\u200b",
    "a▁b ▁",
    "▅ ⁇ <unk></s><0x41>",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_any_text_comes_back(trained, text):
    model = tokenizer.Tokenizer(trained[2])
    tokens = model.encode([text])
    assert model.decode(tokens) == text
    assert spelled(trained[2], tokens) == text.encode()


def spelled(model, tokens):
    """What the pieces of the vocabulary say, put together by hand."""
    import sentencepiece

    pieces, out = sentencepiece.SentencePieceProcessor(model_proto=model), b""
    for token in map(int, tokens):
        piece = pieces.id_to_piece(token)
        assert token > 1, "neither unknown nor end of sentence"
        out += bytes([int(piece[3:5], 16)]) if pieces.is_byte(token) else piece.replace("▁", " ").encode()
    return out


def test_bpe_loses_nothing_and_is_shorter(real, monkeypatch):
    some = real._replace(train=real.train[:1_000_000], test=real.test[:400_000])
    monkeypatch.setattr(stdlib_text, "read", lambda: some)
    dataset = load(StdlibTextDataConfig(tokenizer="bpe", vocabulary=700))
    assert dataset.classes == 700
    model = stdlib_text.bpe(some, 700)
    for split in ("train", "test"):
        tokens = np.asarray(dataset.arrays[split])
        assert tokens.dtype == np.uint16
        assert tokens.max() < 700
        assert model.decode(tokens).encode() == getattr(some, split)
        assert len(tokens) < len(getattr(some, split)) / 1.5


def test_the_vocabulary_is_trained_once(library, monkeypatch, tmp_path):
    sources = read(library)._replace(train=read(Path(sysconfig.get_paths()["stdlib"])).train[:300_000])
    first = stdlib_text.bpe(sources, 600)
    assert [path.suffix for path in (tmp_path / "cache/mulo").iterdir() if path.suffix != ".lock"] == [".model"]
    stored = stdlib_text.bpe(sources._replace(test=b"other"), 600)
    assert stored.digest == first.digest
    monkeypatch.setattr(tokenizer, "train", lambda *_: pytest.fail("trained again"))
    assert stdlib_text.bpe(sources, 600).digest == first.digest
    for changed, size in ((sources, 601), (sources._replace(digest="other"), 600)):
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            stdlib_text.bpe(changed, size)


def test_a_vocabulary_that_the_text_cannot_fill_is_refused():
    with pytest.raises(DataError, match=r"data\.vocabulary=5000 does not fit this text"):
        tokenizer.train(["a b"], 5000)


def test_a_vocabulary_of_bytes_is_refused():
    parse_group("data", {"name": "stdlib_text", "tokenizer": "bpe", "vocabulary": 600})
    with pytest.raises(ConfigError, match=r"data\.vocabulary=600 is for data\.tokenizer=bpe"):
        parse_group("data", {"name": "stdlib_text", "vocabulary": 600})


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.model").write_text("no model", encoding="utf-8")
    for name in ("text.model", "missing.model"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a SentencePiece model"):
            tokenizer.read(tmp_path / name)
