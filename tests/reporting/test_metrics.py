import json
import math

import numpy as np
import pytest

from mulo.errors import MuloError
from mulo.reporting.metrics import MetricsLog, read


def filled(path, steps):
    log = MetricsLog(path)
    for step in steps:
        log.append({"outer_step": step, "meta_loss": step / 10})
    return log


def steps(path):
    return [row["outer_step"] for row in read(path)]


def test_a_row_is_on_disk_as_soon_as_it_is_appended(tmp_path):
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl")
    log.append({"outer_step": 1, "meta_loss": 0.25, "note": "µP\u2028"})
    assert log.path.read_text(encoding="utf-8").split("\n") == [
        '{"outer_step": 1, "meta_loss": 0.25, "note": "µP\u2028"}',
        "",
    ]
    assert read(log.path) == [{"outer_step": 1, "meta_loss": 0.25, "note": "µP\u2028"}]


def test_non_finite_floats_are_strict_json_and_return(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"a": math.nan, "b": math.inf, "c": [-math.inf, {"d": math.nan}], "e": None, "f": True})

    def refuse(constant):
        raise AssertionError(constant)

    strict = json.loads(log.path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert strict == {"a": "nan", "b": "inf", "c": ["-inf", {"d": "nan"}], "e": None, "f": True}
    (row,) = read(log.path)
    assert math.isnan(row["a"])
    assert math.isnan(row["c"][1]["d"])
    assert (row["b"], row["c"][0], row["e"], row["f"]) == (math.inf, -math.inf, None, True)


def test_scalar_arrays_become_numbers(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"loss": np.float32(0.5), "outer_step": np.int64(3), "gone": np.array(np.nan)})
    assert log.path.read_text(encoding="utf-8") == '{"loss": 0.5, "outer_step": 3, "gone": "nan"}\n'


def test_keep_until_drops_what_a_resumed_job_logs_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = filled(path, range(1, 8))
    log.keep_until(5)
    for step in (6, 7):
        log.append({"outer_step": step, "meta_loss": 0.0})
    assert steps(path) == [1, 2, 3, 4, 5, 6, 7]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_keep_until_keeps_rows_without_a_step(tmp_path):
    log = filled(tmp_path / "metrics.jsonl", [1, 2])
    log.append({"started": "again"})
    log.keep_until(1)
    assert read(log.path) == [{"outer_step": 1, "meta_loss": 0.1}, {"started": "again"}]


def test_keep_until_of_a_new_job_makes_an_empty_file(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.keep_until(0)
    assert read(log.path) == []


@pytest.mark.parametrize("cut", range(1, 36))
def test_a_last_line_cut_anywhere_is_dropped(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    log = filled(path, [1, 2, 3])
    whole = path.read_bytes()
    last = len(whole.split(b"\n")[2]) + 1
    assert last == 36
    path.write_bytes(whole[:-cut])
    # Only the newline is missing after the first cut, and the row is complete.
    left = [1, 2, 3] if cut == 1 else [1, 2]
    assert steps(path) == left
    log.keep_until(3)
    log.append({"outer_step": 4})
    assert steps(path) == [*left, 4]


def test_half_a_letter_at_the_end_is_dropped(tmp_path):
    log = filled(tmp_path / "metrics.jsonl", [1])
    with log.path.open("ab") as file:
        file.write('{"name": "µ'.encode()[:-1])
    assert steps(log.path) == [1]


def test_damage_elsewhere_is_an_error_that_names_the_line(tmp_path):
    log = filled(tmp_path / "metrics.jsonl", [1, 2, 3])
    log.path.write_text(
        log.path.read_text(encoding="utf-8").replace('{"outer_step": 2', '"outer_step": 2'), encoding="utf-8"
    )
    with pytest.raises(MuloError, match=r"metrics\.jsonl, line 2 is not JSON"):
        log.keep_until(3)
