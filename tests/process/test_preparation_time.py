"""The time of a preparation adds up over restarts, those of run directories of earlier versions among them."""

import pytest

from mulo.process import preparation_time


@pytest.fixture
def clock(monkeypatch):
    times = iter([100.0, 102.5, 200.0, 210.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))


def test_it_adds_up_over_restarts_and_errors(tmp_path, clock):
    assert preparation_time.read(tmp_path) == 0
    with pytest.raises(ZeroDivisionError), preparation_time.measured(tmp_path):
        raise ZeroDivisionError
    assert preparation_time.read(tmp_path) == 2.5
    with preparation_time.measured(tmp_path):
        pass
    assert preparation_time.read(tmp_path) == 12.5


def test_it_goes_on_from_the_file_of_earlier_versions(tmp_path, clock):
    (tmp_path / "spent.json").write_text('{"seconds": 7.5}\n', encoding="utf-8")
    assert preparation_time.read(tmp_path) == 7.5
    with preparation_time.measured(tmp_path):
        pass
    assert preparation_time.read(tmp_path) == 10
