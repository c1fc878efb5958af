"""The One Billion Word Benchmark in its published layout, from a tar and from a folder, whole and damaged."""

import gzip
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from dataclasses import replace

import jax
import numpy as np
import pytest

from mulo.config import LM1BDataConfig
from mulo.data import lm1b, lm1b_files, load, tokenizer
from mulo.errors import DataError

ROOT = "1-billion-word-language-modeling-benchmark-r13output"
VOCABULARY = 600


def sentences(seed, count=300):
    """Sentences of made-up words, a few with what is rare."""
    chosen = random.Random(seed)
    syllables = [a + b for a in "bcdfghklmnprst" for b in "aeiou"]
    words = ["".join(chosen.choices(syllables, k=chosen.randint(1, 4))) for _ in range(200)]
    lines = [" ".join(chosen.choices(words, k=chosen.randint(3, 9))) + " ." for _ in range(count)]
    return [*lines[:-1], "“ é ▁ 🎉 ”"]


SHARDS = {f"{ROOT}/training-monolingual.tokenized.shuffled/news.en-0000{n}-of-00003": sentences(n) for n in (1, 2)} | {
    f"{ROOT}/heldout-monolingual.tokenized.shuffled/news.en.heldout-0000{n}-of-00002": sentences(10 + n, 50)
    for n in (0, 1)
}
TRAIN, TEST = list(SHARDS)[:2], list(SHARDS)[2:]


def write_tar(path, names, extra=("README",)):
    with tarfile.open(path, "w:gz") as archive:
        for name in [*extra, *names]:
            content = "".join(f"{line}\n" for line in SHARDS.get(name, ["."])).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_tar(tmp_path_factory.mktemp("lm1b") / "lm1b.tar.gz", SHARDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tokenizer in a file, the one that mulo would train."""
    path = tmp_path_factory.mktemp("tokenizer") / "lm1b.model"
    path.write_bytes(tokenizer.train(SHARDS[TRAIN[0]], VOCABULARY))
    return path


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lm1b.load.cache_clear()
    return tmp_path / "cache/mulo"


def settings(path, **changes):
    return LM1BDataConfig(**{"path": str(path), "vocabulary": VOCABULARY, "sequence_length": 8} | changes)


def text_of(dataset, model, split):
    """Sentences, told apart by the token that ends them."""
    tokens = np.asarray(dataset.arrays[split])
    assert tokens[-1] == model.end
    return [model.decode(part[part != model.end]) for part in np.split(tokens, np.flatnonzero(tokens == model.end))]


def test_all_sentences_come_back_in_order(published, model, kept):
    dataset = load(settings(published))
    assert (dataset.name, dataset.kind, dataset.classes, dataset.input_shape) == ("lm1b", "tokens", VOCABULARY, (8,))
    assert dataset.arrays["train"].dtype == np.uint16
    for split, names in (("train", TRAIN), ("test", TEST)):
        assert text_of(dataset, tokenizer.read(model), split) == [s for n in names for s in SHARDS[n]] + [""]
    assert {path.suffix for path in kept.iterdir()} == {".model", "", ".lock"}
    assert [path.read_bytes() for path in kept.glob("*.model")] == [model.read_bytes()]


def test_the_order_in_the_tar_and_a_folder_make_no_difference(published, tmp_path):
    first, same = load(settings(published)), lm1b.digest(settings(published))
    mixed = write_tar(tmp_path / "mixed.tar.gz", [TEST[1], TRAIN[1], TEST[0], TRAIN[0]])
    with tarfile.open(published) as archive:
        archive.extractall(tmp_path / "folder", filter="data")
    (tmp_path / "folder/notes.txt").write_text("not a shard", encoding="utf-8")
    for path in (mixed, tmp_path / "folder", tmp_path / "folder" / ROOT):
        dataset = load(settings(path))
        assert lm1b.digest(settings(path)) == same
        for split in ("train", "test"):
            np.testing.assert_array_equal(dataset.arrays[split], first.arrays[split])


def test_a_given_tokenizer_is_used(published, model, kept):
    own = lm1b.digest(settings(published, tokenizer_path=str(model)))
    assert not list(kept.glob("*.model"))
    other = model.with_name("other.model")
    other.write_bytes(tokenizer.train(SHARDS[TRAIN[1]], VOCABULARY))
    assert lm1b.digest(settings(published, tokenizer_path=str(other))) != own
    with pytest.raises(DataError, match=r"data\.vocabulary=32000 does not match .* set data\.vocabulary=600"):
        load(settings(published, tokenizer_path=str(model), vocabulary=32000))
    with pytest.raises(DataError, match=r"missing\.model cannot be read"):
        load(settings(published, tokenizer_path="missing.model"))


def test_a_tokenizer_without_an_end_of_sentence_is_refused(published, tmp_path, monkeypatch):
    monkeypatch.setitem(tokenizer._SETTINGS, "eos_id", -1)
    (tmp_path / "endless.model").write_bytes(tokenizer.train(SHARDS[TRAIN[0]], VOCABULARY))
    with pytest.raises(DataError, match="no token for the end of a sentence"):
        load(settings(published, tokenizer_path=str(tmp_path / "endless.model")))


def test_batches_of_sentences_make_no_difference(published, model, monkeypatch):
    config = settings(published, tokenizer_path=str(model))
    first = lm1b.digest(config)
    monkeypatch.setattr(lm1b, "_BATCH_SENTENCES", 7)
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["XDG_CACHE_HOME"] + "-2")
    assert lm1b.digest(config) == first


@pytest.fixture
def streamed(published, model):
    both = settings(published, tokenizer_path=str(model))
    return load(both), load(replace(both, in_memory_gib=0.0, window=64, block=16))


def test_streamed_it_has_the_same_fixed_windows(streamed):
    whole, stream = streamed
    assert (stream.name, stream.kind, stream.input_shape, stream.classes) == ("lm1b", "tokens", (8,), VOCABULARY)
    for split in ("train", "test"):
        for part, own in zip(stream.fixed(stream.arrays, split, 50), whole.fixed(whole.arrays, split, 50), strict=True):
            assert part.dtype == own.dtype == np.int32
            np.testing.assert_array_equal(part, own)


def test_streamed_it_draws_windows_of_the_text_and_moves_on(streamed):
    whole, stream = streamed
    tokens = np.asarray(whole.arrays["train"])
    windows = {tuple(tokens[start : start + 9]) for start in range(0, len(tokens) - 8, 8)}
    seen = []
    for position in (0, 4):
        inputs, labels = stream.sample(stream.at(position), jax.random.key(0), 64)
        assert inputs.dtype == labels.dtype == np.int32
        np.testing.assert_array_equal(inputs[:, 1:], labels[:, :-1])
        seen.append({(*x.tolist(), int(y[-1])) for x, y in zip(inputs, labels, strict=True)})
    assert seen[0] | seen[1] <= windows
    assert len(seen[0] & seen[1]) < len(seen[0]) / 2  # the window has moved on as a whole


def test_streamed_a_text_without_a_window_is_refused(published, model):
    with pytest.raises(DataError, match=r"data\.sequence_length=100000 is invalid"):
        load(settings(published, tokenizer_path=str(model), in_memory_gib=0.0, sequence_length=100_000))


def test_what_is_missing_is_refused_before_jax_is_loaded():
    script = (
        "import sys\nfrom mulo.config import LM1BDataConfig\nfrom mulo.data import check\n"
        "from mulo.errors import DataError\n"
        "try: check(LM1BDataConfig())\nexcept DataError as error: print('data.path is not set' in str(error))\n"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["True", "False"]


def test_tokenised_once_until_the_file_changes(tmp_path, model, kept, monkeypatch, capsys):
    path = write_tar(tmp_path / "own.tar.gz", SHARDS)
    config = settings(path, tokenizer_path=str(model))
    first, vocabulary = lm1b.prepare(config)
    assert (first.parent, vocabulary) == (kept, VOCABULARY)
    assert sorted(file.name for file in first.iterdir()) == ["meta.json", "test.npy", "train.npy"]
    assert "tokenising own.tar.gz" in capsys.readouterr().err
    counts = json.loads((first / "meta.json").read_text(encoding="utf-8"))["tokens"]
    assert counts == {split: len(tokens) for split, tokens in lm1b.memory_mapped(first).items()}
    with monkeypatch.context() as patched:
        patched.setattr(lm1b_files, "shards", lambda _: pytest.fail("read again"))
        assert lm1b.prepare(config) == (first, VOCABULARY)
    os.utime(path, (1, 1))
    assert lm1b.prepare(config)[0] != first


@pytest.mark.parametrize("kind", ["missing", "not set"])
def test_missing_files_are_asked_for(tmp_path, kind):
    config = settings(tmp_path / "nowhere.tar.gz") if kind == "missing" else LM1BDataConfig()
    with pytest.raises(DataError) as caught:
        load(config)
    for word in ("statmt.org", lm1b_files.ARCHIVE, "set data.path=", "data=stdlib_text", config.path or "not set"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def damaged(path, kind):
    whole = write_tar(path, SHARDS).read_bytes()
    content = {
        "cut": whole[: len(whole) // 2],
        "cut at the end": whole[:-4],
        "checksum": whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
        "bit flipped": whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 4]) + whole[len(whole) // 2 + 1 :],
        "no gzip": b"not a tar",
        "no tar": gzip.compress(b"not a tar" * 100),
        "empty": b"",
    }
    path.write_bytes(content[kind])


@pytest.mark.parametrize("kind", ["cut", "cut at the end", "checksum", "bit flipped", "no gzip", "no tar", "empty"])
def test_a_damaged_tar_is_named_and_leaves_nothing(tmp_path, model, kind, kept):
    damaged(tmp_path / "bad.tar.gz", kind)
    with pytest.raises(DataError, match=r"bad\.tar\.gz is (damaged or cut short|incomplete)"):
        load(settings(tmp_path / "bad.tar.gz", tokenizer_path=str(model)))
    assert {path.suffix for path in kept.iterdir()} <= {".lock"}


def test_text_that_is_not_utf8_is_damage(tmp_path, model):
    with tarfile.open(write_tar(tmp_path / "x.tar.gz", SHARDS)) as archive:
        archive.extractall(tmp_path / "folder", filter="data")
    (tmp_path / "folder" / TEST[0]).write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match="folder is damaged"):
        load(settings(tmp_path / "folder", tokenizer_path=str(model)))


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (TRAIN[:1], "of the train files, number 1 is missing, the first of 1"),
        (TRAIN[1:], "of the train files, number 2 is missing, the first of 1"),
        (TEST, "of the test files, number 0 is missing"),
        (list(SHARDS), "of the train files, number 1 is missing"),
    ],
)
def test_an_incomplete_tar_is_refused(tmp_path, left_out, said):
    path = write_tar(tmp_path / "part.tar.gz", [name for name in SHARDS if name not in left_out])
    with pytest.raises(DataError, match=said):
        load(settings(path))


def test_a_cache_that_cannot_be_written_is_said(published, model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME to a folder that can be written"):
        load(settings(published, tokenizer_path=str(model)))
