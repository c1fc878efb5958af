import math

import pytest

from mulo.errors import MuloError
from mulo.evaluation.coordinate_rows import read_rows, rows_with_slope, verdicts, write_rows

HEADER = "optimizer,parametrization,measure,layer,t,over,size,std,slope,status\n"


def rows(stds, layer="hidden", **movement):
    names = {"optimizer": "velo_mup", "parametrization": "mup", "measure": "x_t - x_0", "t": 10, "over": "width"}
    return rows_with_slope(stds, **{**names, "layer": layer, **movement})


@pytest.mark.parametrize("slope", [0.0, 0.5, -1.25])
def test_slope_of_a_power_law_is_its_exponent(slope):
    found = rows({width: 3 * width**slope for width in (64, 100, 512)})
    assert [row["size"] for row in found] == [64, 100, 512]
    for row in found:
        assert row["std"] == 3 * row["size"] ** slope
        assert row["slope"] == pytest.approx(slope, abs=1e-12)
        assert row["status"] == "moving"


def test_slope_is_the_least_squares_one():
    # Deviations from a power law at widths 1, 2, 4, chosen orthogonal to a constant and to log width.
    stds = {width: width**0.3 * math.exp(e) for width, e in ((1, 0.1), (2, -0.2), (4, 0.1))}
    assert rows(stds)[0]["slope"] == pytest.approx(0.3, abs=1e-12)


@pytest.mark.parametrize(
    ("stds", "status"),
    [
        ((0.0, 0.0), "still"),
        ((0.0, 1.0), "undefined"),
        ((1.0, math.inf), "undefined"),
        ((math.nan, 0.0), "undefined"),
    ],
)
def test_without_a_logarithm_there_is_no_slope(stds, status):
    found = rows(dict(zip((64, 128), stds, strict=True)))
    assert [row["status"] for row in found] == [status] * 2
    assert all(math.isnan(row["slope"]) for row in found)


def test_verdicts_follow_slope_tolerance_and_status():
    found = [
        *rows({64: 1.0, 128: 2**0.09}, "low"),
        *rows({64: 1.0, 128: 2**-0.11}, "high"),
        *rows({64: 0.0, 128: 0.0}, "rest"),
        *rows({64: 0.0, 128: 1.0}, "start"),
    ]
    judged = [(v.layer, v.outcome, v.failed) for v in verdicts(found, 0.1)]
    assert judged == [
        ("low", "stable", False),
        ("high", "unstable", True),
        ("rest", "still", False),
        ("start", "undefined", True),
    ]
    assert {v.outcome for v in verdicts(found[:4], 0.12)} == {"stable"}


def test_verdicts_keep_every_movement_apart():
    changes = (
        {},
        {"t": 1},
        {"measure": "(W_t - W_0) x"},
        {"parametrization": "sp"},
        {"optimizer": "adamw"},
        {"over": "depth"},
    )
    found = [row for change in changes for row in rows({64: 1.0, 128: 1.0}, **change)]
    assert len(verdicts(found, 0.1)) == len(changes)


def as_text(rows):
    """In which nan equals nan, and 1 differs from 1.0."""
    return [{key: repr(value) for key, value in row.items()} for row in rows]


def test_csv_returns_the_rows(tmp_path):
    written = rows({64: 0.1 + 0.2, 128: 1e-30}) + rows({64: 0.0, 128: 0.0}, "a,b")
    write_rows(written, tmp_path / "deep" / "rows.csv")
    read = read_rows(tmp_path / "deep" / "rows.csv")
    assert as_text(read) == as_text(written)
    assert (tmp_path / "deep" / "rows.csv").read_text(encoding="utf-8").startswith(HEADER)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its columns are missing"),
        ("width,std\n8,1.0\n", "its columns are width, std, and these are needed, in this order: optimizer"),
        (f"{HEADER}a,mup,x,l,1,width,wide,1.0,0.0,moving\n", "line 2: .*'wide'"),
        (f"{HEADER}a,mup,x,l,1,width,8,1.0,0.0\n", "line 2"),
    ],
)
def test_other_csv_files_are_refused(tmp_path, text, said):
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    with pytest.raises(MuloError, match=said):
        read_rows(tmp_path / "rows.csv")
