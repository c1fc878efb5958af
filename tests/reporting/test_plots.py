import math
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mulo.reporting import coordinate_plot, plots, style

NAN = math.nan


def metrics():
    rows = [{"outer_step": k, "meta_loss": 1 / k, "meta_loss/mlp_w64": 2 / k} for k in range(1, 120)]
    return [*rows, {"outer_step": 119, "validation_loss": 0.1}, {"started": "again"}]


def deviations():
    rows = [
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
    return pd.DataFrame(rows)


PICTURES = {
    "meta_training": lambda stem: plots.meta_training(metrics(), stem),
    "coordinate_check": lambda stem: coordinate_plot.coordinate_check(deviations(), stem, "Coordinates"),
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


def test_looks_are_distinct_and_stay_with_their_optimizer():
    names = ["velo_mup", "velo_sp", "small_fc_mup", "small_fc_sp", "mu_adam", "adamw", "mine", "yours"]
    looks = style.lines([(name, "mup" if "mu" in name else "sp") for name in names])
    assert len({look.color for look in looks.values()}) == len({look.marker for look in looks.values()}) == 8
    alone = style.lines([("yours", "sp"), ("adamw", "sp")])
    assert alone["adamw", "sp"] == looks["adamw", "sp"]


def test_meta_training_shows_tasks_and_validation(tmp_path, drawn):
    PICTURES["meta_training"](tmp_path / "figure")
    ((panel,),) = drawn
    drawn = lines(panel)
    assert list(drawn) == ["meta-loss", "mlp_w64", "validation"]
    np.testing.assert_array_equal(drawn["validation"].get_xydata(), [[119, 0.1]])
    np.testing.assert_allclose(drawn["mlp_w64"].get_ydata()[1:-1], [2 / k for k in range(2, 119)])


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
    # The zeros of hidden_0 have no logarithm.
    assert drawn_lines == [[[[64, 16], [256, 32]]], [[[64, 8], [256, 16]], [[64, 16], [256, 32]]]]
    assert [text.get_text() for text in axes[1, 2].texts] == ["+0.50", "+0.50"]


def test_slopes_are_moved_apart_by_equal_amounts_and_keep_their_order():
    spread = coordinate_plot._spread(np.array([0.5, 0.9, 0.5 - 1e-9]))
    low, high = sorted(spread[[0, 2]])
    assert high - low == pytest.approx(0.095)
    assert (high + low) / 2 == pytest.approx(0.5)
    assert spread[2] < spread[0] < spread[1] == pytest.approx(0.9)


@pytest.mark.parametrize("height", [-1.0, 0.5, 1.0])
def test_slopes_of_many_lines_fill_the_panel_and_do_not_leave_it(height):
    np.testing.assert_allclose(coordinate_plot._spread(np.full(21, height)), np.linspace(0, 1, 21), atol=1e-12)


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
