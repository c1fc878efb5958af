import math
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mulo.errors import MuloError
from mulo.evaluation.results import (
    RESULTS,
    SPLITS,
    curve_names,
    read_curves,
    read_runs,
    replacing,
    trainings,
    write_curves,
)

HEADER = "method,parametrization,task,data,width,depth,num_steps,meta_seed,seed,split,loss,status"
OLD = "optimizer,parametrization,task,width,depth,steps,seed,train_loss,test_loss,status"
OLD_RECORD = (
    "contestant,parametrization,task,data,width,depth,steps,meta_seed,seed,a.b,initial_loss,train_loss,test_loss,status"
)
ROW = {"method": "velo_mup", "parametrization": "mup", "task": "mlp", "data": "images", "width": 128, "depth": 3}
ROW |= {"num_steps": 200, "meta_seed": 0, "seed": 0, "split": "train", "loss": 1.0, "status": "finished"}


def table(*rows):
    return pd.DataFrame([ROW | row for row in rows])


def splits(initial, train, test, **more):
    return [
        {"split": split, "loss": float(loss), **more}
        for split, loss in zip(SPLITS, (initial, train, test), strict=True)
    ]


def test_csv_returns_every_float_exactly(tmp_path):
    draw = random.Random(0)
    losses = [draw.gauss(0, 1) * 10.0 ** draw.randint(-300, 300) for _ in range(50)]
    losses += [math.nan, math.inf, -math.inf, 0.1 + 0.2]
    written = table(*({"seed": seed, "loss": loss} for seed, loss in enumerate(losses)))
    RESULTS.write(written, tmp_path / "results.csv")
    pd.testing.assert_frame_equal(RESULTS.read(tmp_path / "results.csv"), written, check_exact=True)


def test_csv_text(tmp_path):
    row = {"method": "a,b", "width": 64, "loss": np.float32(0.5), "status": "diverged(7)"}
    RESULTS.write(table(row, {"loss": math.nan}), tmp_path / "deep" / "results.csv")
    assert (tmp_path / "deep" / "results.csv").read_text(encoding="utf-8") == (
        f'{HEADER}\n"a,b",mup,mlp,images,64,3,200,0,0,train,0.5,diverged(7)\n'
        "velo_mup,mup,mlp,images,128,3,200,0,0,train,nan,finished\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are missing; expected method"),
        ("optimizer,width\nvelo,3\n", "its columns are optimizer, width; expected method, parametrization"),
        (f"{HEADER},more\n", "its columns are .*more; expected"),
        (f"{HEADER}\nvelo,mup,mlp,128\n", "line 2: 4 values are given; expected 12"),
        (f"{HEADER}\nvelo,mup,mlp,d,wide,3,200,0,0,train,1,finished\n", "column width: .*'wide'"),
        (f"{HEADER}\nvelo,mup,mlp,d,8,3,200,0,0,dev,1,finished\n", "'dev' is invalid; expected initial or train or"),
        (f"{OLD}\nvelo,mup,mlp,8,3,200,zero,1,1,finished\n", "column seed: .*'zero'"),
    ],
)
def test_csv_of_another_shape_is_refused(tmp_path, text, message):
    path = tmp_path / "results.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MuloError, match=message):
        RESULTS.read(path)


def test_columns_of_settings_are_texts_and_must_be_those_expected(tmp_path):
    written = table({"a.b": "0.10"}, {"a.b": "nan", "seed": 1})
    RESULTS.write(written, tmp_path / "results.csv")
    for settings in (["a.b"], None):
        assert RESULTS.read(tmp_path / "results.csv", settings).equals(written)
    for settings in ([], ["a.b", "c"]):
        with pytest.raises(MuloError, match="its columns are"):
            RESULTS.read(tmp_path / "results.csv", settings)


def test_the_table_of_an_older_run_directory_is_read(tmp_path):
    """A row per training; the curves tell the initial losses, the job its data and meta-seed."""
    rows = ["velo,mup,mlp,8,3,2,0,0.5,0.25,finished", "velo,mup,mlp,8,3,2,1,nan,0.75,diverged(1)"]
    rows = [OLD, *rows, "adamw,sp,mlp,8,3,2,0,1,2,finished", ""]
    (tmp_path / "results.csv").write_text("\n".join(rows), encoding="utf-8")
    write_curves({"velo/mup/w8/d3/n2": np.array([[3.0, 2.0], [4.0, np.inf]])}, tmp_path / "curves.npz")
    results, curves = read_runs(tmp_path, "images", 7)
    assert list(curves) == ["velo/mup/w8/d3/n2"]
    assert list(results) == HEADER.split(",")
    assert set(results.data) == {"images"}
    assert set(results.meta_seed) == {7}
    assert list(results.split) == list(SPLITS) * 3
    np.testing.assert_array_equal(results.loss, [3, 0.5, 0.25, 4, np.nan, 0.75, np.nan, 1, 2])
    assert list(results.status[::3]) == ["finished", "diverged(1)", "finished"]
    assert list(results.method[::3]) == ["velo", "velo", "adamw"]


def test_the_table_of_an_older_record_is_read(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(f"{OLD_RECORD}\nLO,sp,mlp,images,8,3,200,1,2,0.1,2.5,0.5,0.25,finished\n", encoding="utf-8")
    results = RESULTS.read(path, ["a.b"])
    training = {"method": "LO", "parametrization": "sp", "width": 8, "meta_seed": 1, "seed": 2, "a.b": "0.1"}
    pd.testing.assert_frame_equal(results, table(*splits(2.5, 0.5, 0.25, **training)), check_like=True)


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


def test_trainings_have_a_column_per_split_in_the_order_of_the_table():
    rows = trainings(table(*splits(3, 2, 1, width=512), *splits(6, 5, 4, width=64), *splits(9, 8, 7, seed=1)))
    assert rows[["width", "seed", *SPLITS]].values.tolist() == [[512, 0, 3, 2, 1], [64, 0, 6, 5, 4], [128, 1, 9, 8, 7]]
    assert not rows.failed.any()


def test_what_diverged_is_infinite_and_what_failed_has_no_loss():
    rows = [
        *splits(3.0, math.nan, 1.0, seed=0, status="diverged(17)"),
        *splits(3.0, 9.0, 9.0, seed=1, status="diverged(180)"),  # finite at the end, but not all the way
        *splits(3.0, 1.0, math.inf, seed=2),  # non-finite, whatever its status says
        *splits(math.nan, math.nan, math.nan, seed=3, status="failed(out of memory)"),
    ]
    wide = trainings(table(*rows))
    np.testing.assert_array_equal(wide[["train", "test"]], [[np.inf] * 2] * 3 + [[np.nan] * 2])
    np.testing.assert_array_equal(wide.initial, [3.0, 3.0, 3.0, np.nan])
    assert list(wide.failed) == [False, False, False, True]


def test_two_losses_of_one_training_are_refused():
    with pytest.raises(MuloError, match="two losses of one split"):
        trainings(table({}, {"loss": 2.0}))


def test_curves_return_with_names_dtypes_and_nan(tmp_path):
    rows = table({}, {"method": "µLO_M (a)", "parametrization": "sp", "width": 2048})
    names = list(curve_names(rows))
    assert names == ["velo_mup/mup/w128/d3/n200", "µLO_M (a)/sp/w2048/d3/n200"]
    curves = dict(
        zip(names, (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[1.0, np.inf, np.nan]])), strict=True)
    )
    write_curves(curves, tmp_path / "curves.npz")
    read = read_curves(tmp_path / "curves.npz")
    assert list(read) == names
    for name, values in curves.items():
        np.testing.assert_array_equal(read[name], values, strict=True)


def test_curves_never_hold_pickles(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_curves({"a/sp/w1": np.array([{}], dtype=object)}, tmp_path / "curves.npz")
    assert not list(tmp_path.iterdir())


def test_the_module_loads_without_jax():
    code = "import sys, mulo.evaluation.results; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
