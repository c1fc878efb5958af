import math

import pandas as pd
import pytest

from mulo.errors import MuloError
from mulo.evaluation.coordinate_rows import CHANGES, verdicts, with_slopes

HEADER = "method,parametrization,measure,layer,t,over,size,std,slope,status\n"
OLD = HEADER.replace("method", "optimizer")


def changes(stds, layer="hidden", **change):
    names = {"method": "velo_mup", "parametrization": "mup", "measure": "x_t - x_0", "t": 10, "over": "width"}
    named = {**names, "layer": layer, **change}
    return with_slopes(pd.DataFrame([{**named, "size": size, "std": std} for size, std in stds.items()]))


@pytest.mark.parametrize("slope", [0.0, 0.5, -1.25])
def test_slope_of_a_power_law_is_its_exponent(slope):
    rows = changes({width: 3 * width**slope for width in (64, 100, 512)})
    assert list(rows["size"]) == [64, 100, 512]
    assert list(rows["std"]) == [3 * size**slope for size in (64, 100, 512)]
    assert list(rows.slope) == pytest.approx([slope] * 3, abs=1e-12)
    assert set(rows.status) == {"changing"}


def test_slope_is_the_least_squares_one():
    # Deviations from a power law at widths 1, 2, 4, chosen orthogonal to a constant and to log width.
    stds = {width: width**0.3 * math.exp(e) for width, e in ((1, 0.1), (2, -0.2), (4, 0.1))}
    assert changes(stds).slope[0] == pytest.approx(0.3, abs=1e-12)


@pytest.mark.parametrize(
    ("stds", "status"),
    [
        ((0.0, 0.0), "constant"),
        ((0.0, 1.0), "undefined"),
        ((1.0, math.inf), "undefined"),
        ((math.nan, 0.0), "undefined"),
    ],
)
def test_without_a_logarithm_there_is_no_slope(stds, status):
    rows = changes(dict(zip((64, 128), stds, strict=True)))
    assert list(rows.status) == [status] * 2
    assert rows.slope.isna().all()


def test_every_change_has_a_slope_of_its_own():
    rows = [{"layer": layer, "size": n, "std": n**power} for n in (2, 8) for layer, power in (("b", 1.0), ("a", 0.5))]
    head = {"method": "m", "parametrization": "mup", "measure": "x", "t": 1, "over": "width"}
    fitted = with_slopes(pd.DataFrame(rows).assign(**head))
    assert list(zip(fitted.layer, fitted["size"], strict=True)) == [("b", 2), ("b", 8), ("a", 2), ("a", 8)]
    assert list(fitted.slope) == pytest.approx([1.0, 1.0, 0.5, 0.5])


def test_verdicts_follow_slope_tolerance_and_status():
    rows = pd.concat(
        [
            changes({64: 1.0, 128: 2**0.09}, "low"),
            changes({64: 1.0, 128: 2**-0.11}, "high"),
            changes({64: 0.0, 128: 0.0}, "rest"),
            changes({64: 0.0, 128: 1.0}, "start"),
        ]
    )
    judged = verdicts(rows, 0.1)
    assert judged[["layer", "outcome", "failed"]].values.tolist() == [
        ["low", "stable", False],
        ["high", "unstable", True],
        ["rest", "constant", False],
        ["start", "undefined", True],
    ]
    assert set(verdicts(rows[:4], 0.12).outcome) == {"stable"}


def test_verdicts_keep_every_change_apart():
    differences = (
        {},
        {"t": 1},
        {"measure": "(W_t - W_0) x"},
        {"parametrization": "sp"},
        {"method": "adamw"},
        {"over": "depth"},
    )
    rows = pd.concat([changes({64: 1.0, 128: 1.0}, **change) for change in differences])
    assert len(verdicts(rows, 0.1)) == len(differences)


def test_csv_returns_the_rows(tmp_path):
    written = pd.concat([changes({64: 0.1 + 0.2, 128: 1e-30}), changes({64: 0.0, 128: 0.0}, "a,b")], ignore_index=True)
    written = written[list(CHANGES.columns)]
    CHANGES.write(written, tmp_path / "deep" / "rows.csv")
    pd.testing.assert_frame_equal(CHANGES.read(tmp_path / "deep" / "rows.csv"), written, check_exact=True)
    assert (tmp_path / "deep" / "rows.csv").read_text(encoding="utf-8").startswith(HEADER)


def test_files_of_older_versions_are_read(tmp_path):
    text = f"{OLD}a,mup,x,l,1,width,8,1.5,0.25,moving\na,mup,x,m,1,width,8,0.0,nan,still\n"
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    rows = CHANGES.read(tmp_path / "rows.csv")
    assert list(rows) == HEADER.strip().split(",")
    assert list(rows.iloc[0]) == ["a", "mup", "x", "l", 1, "width", 8, 1.5, 0.25, "changing"]
    assert list(rows.status) == ["changing", "constant"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are missing"),
        ("width,std\n8,1.0\n", "its columns are width, std; expected method, parametrization"),
        (f"{HEADER}a,mup,x,l,1,width,wide,1.0,0.0,changing\n", "column size: .*'wide'"),
        (f"{HEADER}a,mup,x,l,1,width,8,1.0,0.0,gone\n", "column status: 'gone' is invalid; expected changing or"),
        (f"{HEADER}a,mup,x,l,1,width,8,1.0,0.0\n", "line 2: 9 values are given; expected 10"),
    ],
)
def test_other_csv_files_are_refused(tmp_path, text, message):
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    with pytest.raises(MuloError, match=message):
        CHANGES.read(tmp_path / "rows.csv")
