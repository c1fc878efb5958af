"""What is kept appears whole or not at all, whoever else makes it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mulo import cache


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mulo"


def make_folder(path):
    path.mkdir()
    (path / "one").write_text("1", encoding="utf-8")


def test_it_is_made_once(place):
    path = cache.keep("folder", make_folder)
    assert path == place / "folder"
    assert cache.keep("folder", lambda _: pytest.fail("made again")) == path
    assert [file.read_text(encoding="utf-8") for file in path.iterdir()] == ["1"]


def test_nothing_is_kept_of_what_fails(place):
    def fail(path):
        make_folder(path)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.keep("folder", fail)
    assert [path.name for path in place.iterdir()] == ["folder.lock"]


def test_of_two_at_a_time_one_makes_it(place):
    made = []

    def slow(path):
        time.sleep(0.2)
        made.append(path)
        make_folder(path)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: cache.keep("folder", slow), range(2))
    assert first == second == place / "folder"
    assert len(made) == 1
