import math
import random
import statistics
import subprocess
import sys

import numpy as np
import pytest

from mulo.errors import MuloError
from mulo.evaluation.results import (
    CurveKey,
    Result,
    by_optimizer,
    read_csv,
    read_curves,
    replacing,
    summarize,
    write_csv,
    write_curves,
)


def result(seed, loss=1.0, status="finished", **changes):
    row = Result("velo_mup", "mup", "mlp", 128, 3, 200, seed, loss / 2, loss, status)
    return row._replace(**changes)


def same(a, b):
    """Equal field by field and type by type, nan being equal to nan."""
    return all(type(x) is type(y) and (x == y or (x != x and y != y)) for x, y in zip(a, b, strict=True))


def test_csv_returns_every_float_exactly(tmp_path):
    draw = random.Random(0)
    losses = [draw.gauss(0, 1) * 10.0 ** draw.randint(-300, 300) for _ in range(50)]
    written = [result(seed, loss) for seed, loss in enumerate([*losses, math.nan, math.inf, -math.inf, 0.1 + 0.2])]
    write_csv(written, tmp_path / "results.csv")
    read = read_csv(tmp_path / "results.csv")
    assert len(read) == len(written)
    assert all(same(a, b) for a, b in zip(written, read, strict=True))


def test_csv_text(tmp_path):
    row = Result("a,b", "sp", "mlp", 64, 3, 10, 2, np.float32(0.5), math.nan, "diverged(7)")
    write_csv([row], tmp_path / "deep" / "results.csv")
    assert (tmp_path / "deep" / "results.csv").read_text(encoding="utf-8") == (
        "optimizer,parametrization,task,width,depth,steps,seed,train_loss,test_loss,status\n"
        '"a,b",sp,mlp,64,3,10,2,0.5,nan,diverged(7)\n'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing"),
        ("optimizer,width\nvelo,3\n", "optimizer, width"),
        (",".join(reversed(Result._fields)) + "\n", "in this order: optimizer, parametrization"),
        (",".join(Result._fields) + "\nvelo,mup,mlp,128\n", "line 2: 4 values"),
        (",".join(Result._fields) + "\nvelo,mup,mlp,wide,3,200,0,1,1,finished\n", "line 2: .*'wide'"),
    ],
)
def test_csv_of_another_shape_is_refused(tmp_path, text, said):
    path = tmp_path / "results.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MuloError, match=said):
        read_csv(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old", encoding="utf-8")

    def fail():
        with replacing(path) as partial:
            partial.write_text("half", encoding="utf-8")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("kept.txt", "old")]


def test_summary_against_the_statistics_module():
    losses = [0.31, 0.29, 0.4, 0.37]
    (summary,) = summarize(result(seed, loss) for seed, loss in enumerate(losses))
    assert summary[:6] == ("velo_mup", "mup", "mlp", 128, 3, 200)
    assert (summary.seeds, summary.diverged) == (4, 0)
    assert summary.test_loss == pytest.approx(statistics.mean(losses))
    assert summary.test_error == pytest.approx(statistics.stdev(losses) / math.sqrt(4))
    assert summary.train_loss == pytest.approx(statistics.mean(losses) / 2)
    assert summary.train_error == pytest.approx(statistics.stdev(losses) / 2 / math.sqrt(4))


def test_diverged_seeds_are_counted_and_left_out():
    rows = [
        result(0, 0.2),
        result(1, 0.4),
        result(2, math.nan, "diverged(17)"),
        result(3, 9.0, "diverged(180)"),  # finite at the end, but not all the way
        result(4, math.inf),  # non-finite, whatever its status says
    ]
    (summary,) = summarize(rows)
    assert (summary.seeds, summary.diverged) == (5, 3)
    assert summary.test_loss == pytest.approx(0.3)
    assert summary.test_error == pytest.approx(statistics.stdev([0.2, 0.4]) / math.sqrt(2))


def test_one_seed_has_no_standard_error_and_none_has_no_mean():
    one, none = summarize([result(0, 0.5), result(0, math.nan, "diverged(1)", width=256)])
    assert one.test_loss == 0.5
    assert math.isnan(one.test_error)
    assert math.isnan(none.test_loss)
    assert math.isnan(none.train_error)
    assert (none.seeds, none.diverged) == (1, 1)


def test_groups_come_in_the_order_first_seen():
    rows = [result(0, width=512), result(0, width=64), result(1, width=512), result(0, width=64, steps=9)]
    assert [(s.width, s.steps, s.seeds) for s in summarize(rows)] == [(512, 200, 2), (64, 200, 1), (64, 9, 1)]


def test_by_optimizer_refuses_two_summaries_for_one_place():
    small, large = summarize([result(0), result(0, width=256)])
    assert by_optimizer([small, large]) == {("velo_mup", "mup"): {128: small, 256: large}}
    with pytest.raises(MuloError, match="velo_mup at width 128"):
        by_optimizer(summarize([result(0), result(0, depth=6)]))


def test_curves_return_with_names_dtypes_and_nan(tmp_path):
    curves = {
        str(CurveKey("velo_mup", "mup", 128, 3, 200)): np.arange(6, dtype=np.float32).reshape(2, 3),
        str(CurveKey("adamw", "sp", 2048, 3, 200)): np.array([[1.0, np.inf, np.nan]]),
    }
    write_curves(curves, tmp_path / "curves.npz")
    read = read_curves(tmp_path / "curves.npz")
    assert list(read) == ["velo_mup/mup/w128/d3/n200", "adamw/sp/w2048/d3/n200"]
    for name, values in curves.items():
        np.testing.assert_array_equal(read[name], values, strict=True)


@pytest.mark.parametrize("text", ["adamw/sp/w8", "adamw/sp/w8/d3/nx", "adamw"])
def test_a_curve_without_a_whole_name_is_refused(text):
    with pytest.raises(MuloError, match="adamw/sp/w128/d3/n200"):
        CurveKey.parse(text)


def test_the_name_of_a_curve_is_read_back():
    key = CurveKey("µLO_M (a)", "mup", 64, 3, 200)
    assert CurveKey.parse(str(key)) == key


def test_what_failed_has_no_loss_and_did_not_diverge():
    failed = result(1, math.nan, "failed(out of memory)")
    assert failed.failed
    assert not failed.diverged
    assert [summary.seeds for summary in summarize([result(0), failed])] == [1]


def test_curves_never_hold_pickles(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_curves({"a/sp/w1": np.array([{}], dtype=object)}, tmp_path / "curves.npz")
    assert not list(tmp_path.iterdir())


def test_the_module_loads_without_jax():
    code = "import sys, mulo.evaluation.results; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
