import math
import re
import subprocess
import sys

import numpy as np
import pytest

from mulo.errors import MuloError
from mulo.evaluation.results import Summary
from mulo.reporting import coordinate_plot, plots, style

NAN = math.nan
OPTIMIZERS = (("velo_mup", "mup"), ("velo_sp", "sp"), ("mine", "mup"))


def summaries():
    rows = [Summary(o, p, "mlp", w, 3, 200, 0.3, 0.01, 0.4, 0.02, 3, 0) for o, p in OPTIMIZERS for w in (64, 256)]
    rows[1] = rows[1]._replace(diverged=1)
    rows[3] = rows[3]._replace(train_loss=NAN, train_error=NAN, test_loss=NAN, test_error=NAN, diverged=3)
    return rows


def some_curves():
    falling = 2.3 * np.exp(-np.arange(250) / 60) + 0.05
    broken = np.where(np.arange(250) < 120, falling, np.inf)
    return {
        "velo_mup/mup/w64/d3/n200": np.stack([falling, 1.1 * falling]),
        "velo_sp/sp/w64/d3/n200": np.stack([falling, broken]),
        "adamw/sp/w64/d3/n200": np.full((2, 250), NAN),
    }


def metrics():
    rows = [{"outer_step": k, "meta_loss": 1 / k, "meta_loss/mlp_w64": 2 / k} for k in range(1, 120)]
    return [*rows, {"outer_step": 119, "validation_loss": 0.1}, {"started": "again"}]


def deviations():
    return [
        {
            "parametrization": p,
            "measure": m,
            "layer": n,
            "t": t,
            "over": "width",
            "size": w,
            "std": s * w**k,
            "slope": k,
        }
        for p, k in (("sp", 0.5), ("mup", 0.0))
        for m in ("x_t - x_0", "(W_t - W_0) x")
        for n, s in (("hidden_0", 0.0 if m == "x_t - x_0" else 1.0), ("output", 2.0))
        for t in (1, 10)
        for w in (64, 256)
    ]


PICTURES = {
    "loss_over_width": lambda stem: plots.loss_over_width(summaries(), stem, [64, 128], "Width"),
    "curves": lambda stem: plots.curves(some_curves(), stem, "Width 64"),
    "meta_training": lambda stem: plots.meta_training(metrics(), stem),
    "coordinate_check": lambda stem: plots.coordinate_check(deviations(), stem, "Coordinates"),
}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of each picture in reading order, instead of its files."""
    seen = []
    monkeypatch.setattr(style, "save", lambda figure, stem: seen.append(figure.axes))
    return seen


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


@pytest.mark.parametrize("name", PICTURES)
def test_png_and_svg_are_written_and_the_svg_is_the_same_every_time(tmp_path, name):
    import matplotlib

    before = dict(matplotlib.rcParams)
    for folder in ("first", "second"):
        PICTURES[name](tmp_path / folder / "figure")
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["figure.png", "figure.svg"]
    png, svg = ((tmp_path / "first" / f"figure.{kind}").read_bytes() for kind in ("png", "svg"))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) > 15_000
    assert svg == (tmp_path / "second" / "figure.svg").read_bytes()
    assert b"<dc:date>" not in svg
    assert dict(matplotlib.rcParams) == before


def test_pictures_do_not_depend_on_the_users_style(tmp_path):
    import matplotlib

    PICTURES["meta_training"](tmp_path / "plain")
    with matplotlib.rc_context({"axes.facecolor": "pink", "lines.linestyle": ":", "svg.fonttype": "none"}):
        PICTURES["meta_training"](tmp_path / "pink")
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "pink.svg").read_bytes()


def test_matplotlib_waits_for_the_first_picture_and_pyplot_is_never_used(tmp_path):
    code = (
        "import sys; from pathlib import Path; import mulo.reporting.plots as plots\n"
        "assert 'matplotlib' not in sys.modules and 'jax' not in sys.modules\n"
        "plots.meta_training([{'outer_step': 1, 'meta_loss': 1.0}], Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_loss_over_width_shows_means_errors_and_diverged_seeds(tmp_path, drawn):
    PICTURES["loss_over_width"](tmp_path / "figure")
    ((test, train),) = drawn
    assert (test.get_ylabel(), train.get_ylabel()) == ("test loss", "train loss")
    assert [tick.get_text() for tick in test.get_xticklabels()] == ["64", "256"]
    found = lines(test)
    assert list(found) == ["µVeLO", "VeLO (SP)", "mine", "seeds diverged\n(of all seeds)"]
    np.testing.assert_array_equal(found["µVeLO"].get_xydata(), [[64, 0.4], [256, 0.4]])
    np.testing.assert_array_equal(found["VeLO (SP)"].get_ydata(), [0.4, NAN])
    assert [found[name].get_linestyle() for name in ("µVeLO", "VeLO (SP)")] == ["-", "--"]
    np.testing.assert_allclose(test.collections[0].get_segments()[0], [[64, 0.38], [64, 0.42]])
    np.testing.assert_allclose(train.collections[0].get_segments()[0], [[64, 0.29], [64, 0.31]])
    # Both at width 256: µVeLO lost one seed of three, VeLO (SP) all.
    crosses = [text for text in test.texts if text.get_text().startswith("×")]
    assert [text.get_text() for text in crosses] == ["× 1/3", "× 3/3"]
    assert [text.xy for text in crosses] == [(256, 1), (256, 1)]
    assert len({text.xyann for text in crosses}) == 2


def test_meta_training_widths_are_shaded_and_none_are_possible(tmp_path, drawn):
    PICTURES["loss_over_width"](tmp_path / "a")
    plots.loss_over_width(summaries(), tmp_path / "b", [], "Baselines alone")
    (shaded, _), (bare, _) = drawn
    left, right = (shaded.patches[0].get_x() + part * shaded.patches[0].get_width() for part in (0, 1))
    assert 32 < left < 64
    assert 128 < right < 256
    assert "meta-training widths" in [text.get_text() for text in shaded.texts]
    assert not bare.patches


def test_meta_training_widths_that_are_not_shown_leave_no_trace(tmp_path):
    """As in an evaluation far beyond them: neither a shade nor, what would squeeze the panels, a text outside."""
    plots.loss_over_width(summaries(), tmp_path / "near", [64], "Shown")
    plots.loss_over_width(summaries(), tmp_path / "far", [4, 8], "Not shown")  # a layout that fails would warn
    near, far = ((tmp_path / f"{name}.svg").read_text(encoding="utf-8") for name in ("near", "far"))
    assert "#eef1f4" in near
    assert "#eef1f4" not in far


def test_looks_are_distinct_and_stay_with_their_optimizer():
    names = ["velo_mup", "velo_sp", "small_fc_mup", "small_fc_sp", "mu_adam", "adamw", "mine", "yours"]
    looks = style.lines([(name, "mup" if "mu" in name else "sp") for name in names])
    assert len({look.color for look in looks.values()}) == len({look.marker for look in looks.values()}) == 8
    alone = style.lines([("yours", "sp"), ("adamw", "sp")])
    assert alone["adamw", "sp"] == looks["adamw", "sp"]


def test_two_results_for_one_point_are_refused(tmp_path):
    rows = [*summaries(), summaries()[0]._replace(steps=5000)]
    with pytest.raises(MuloError, match="velo_mup at width 64"):
        plots.loss_over_width(rows, tmp_path / "figure", [64], "Mixed")
    assert not list(tmp_path.iterdir())


def test_curves_mark_divergence_and_average_over_the_rest(tmp_path, drawn):
    PICTURES["curves"](tmp_path / "figure")
    ((panel,),) = drawn
    assert panel.get_yscale() == "log"
    assert panel.get_ylabel() == "train loss (running median of 5 steps)"
    survivor = some_curves()["velo_sp/sp/w64/d3/n200"][0]
    # A running median leaves a falling curve as it is, except at its two ends.
    np.testing.assert_allclose(lines(panel)["VeLO (SP)"].get_ydata()[130:245], survivor[130:245])
    np.testing.assert_allclose(lines(panel)["µVeLO"].get_ydata()[2:245], 1.05 * survivor[2:245])
    assert [text.xy[0] for text in panel.texts] == [121, 1, 1]


def test_curves_that_explode_do_not_flatten_the_others(tmp_path, drawn):
    exploding = np.array([[2.0, 1e9, 1e20, np.inf]])
    plots.curves(
        {"velo_sp/sp/w8/d3/n200": exploding, "adamw/sp/w8/d3/n200": np.ones((1, 4))}, tmp_path / "figure", "Width 8"
    )
    ((panel,),) = drawn
    low, high = panel.get_ylim()
    assert high == 8.0
    assert 0.5 < low < 1


def test_curves_of_two_widths_are_refused(tmp_path):
    two = {"adamw/sp/w8/d3/n200": np.ones((1, 2)), "adamw/sp/w16/d3/n200": np.ones((1, 2))}
    with pytest.raises(MuloError, match="adamw on two networks"):
        plots.curves(two, tmp_path / "figure", "Mixed")


def test_meta_training_shows_tasks_and_validation(tmp_path, drawn):
    PICTURES["meta_training"](tmp_path / "figure")
    ((panel,),) = drawn
    found = lines(panel)
    assert list(found) == ["meta-loss", "mlp_w64", "validation"]
    np.testing.assert_array_equal(found["validation"].get_xydata(), [[119, 0.1]])
    np.testing.assert_allclose(found["mlp_w64"].get_ydata()[1:-1], [2 / k for k in range(2, 119)])


@pytest.mark.parametrize("rows", [[], [{"outer_step": 1, "meta_loss": NAN}]])
def test_meta_training_without_a_finite_value_is_an_empty_picture(tmp_path, rows):
    plots.meta_training(rows, tmp_path / "figure")
    assert (tmp_path / "figure.png").exists()


def test_coordinate_check_has_a_panel_for_each_measure_and_time(tmp_path, drawn):
    PICTURES["coordinate_check"](tmp_path / "figure")
    (panels,) = drawn
    axes = np.reshape(panels, (2, 4))
    titles = [re.sub(r"[\s$]", "", panel.get_title()) for panel in axes[0]]
    assert titles == ["µP,t=1", "µP,t=10", "SP,t=1", "SP,t=10"]
    assert ["x_t - x_0" in axes[0, 0].get_ylabel(), "W_t - W_0" in axes[1, 0].get_ylabel()] == [True, True]
    drawn_lines = [[line.get_xydata().tolist() for line in panel.get_lines()] for panel in axes[:, 2]]
    # The zeros of hidden_0 have no place on a logarithmic axis.
    assert drawn_lines == [[[[64, 16], [256, 32]]], [[[64, 8], [256, 16]], [[64, 16], [256, 32]]]]
    assert [text.get_text() for text in axes[1, 2].texts] == ["+0.50", "+0.50"]


def test_slopes_are_moved_apart_by_equal_amounts_and_keep_their_order():
    spread = coordinate_plot._spread(np.array([0.5, 0.9, 0.5 - 1e-9]))
    low, high = sorted(spread[[0, 2]])
    assert high - low == pytest.approx(0.095)
    assert (high + low) / 2 == pytest.approx(0.5)
    assert spread[2] < spread[0] < spread[1] == 0.9


@pytest.mark.parametrize("window", [1, 3, 7])
def test_running_median_against_the_statistics_module(window):
    import statistics

    values = np.random.default_rng(0).normal(size=30)
    half = window // 2
    expected = [statistics.median(values[max(0, i - half) : i + half + 1]) for i in range(30)]
    np.testing.assert_allclose(plots.running_median(values, window), expected)


def test_running_median_keeps_nan_and_looks_past_it():
    smooth = plots.running_median(np.array([1.0, NAN, 3.0, 5.0]), 3)
    np.testing.assert_array_equal(smooth, [1.0, NAN, 4.0, 4.0])
    assert plots.running_median(np.array([]), 3).size == 0
