"""The pictures of records: what is on which axis, and in which colour."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mulo.evaluation.coordinate_rows import CHANGES
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import jobs_of
from mulo.reporting import style
from mulo.reporting.record import figures, panels
from tests.evaluation.test_coordinate_rows import changes
from tests.reporting import sweep_directory as sweep


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    return gather(jobs_of(sweep.write_sweep(tmp_path_factory.mktemp("sweep") / "jobs", sweep.separated)))


def test_values_without_numbers_stand_in_the_order_found(gathered):
    kinds = {0: "adam", 1: "sgd", 2: "none"}
    head = replace(gathered.sweep, figure="over_setting", setting="kind")
    results = gathered.results.assign(kind=gathered.results.meta_seed.map(kinds))
    varied = replace(gathered, sweep=head, varied=["kind"], results=results)
    first, *_ = panels.panels(varied)
    assert not first.numeric
    assert first.ticks == ["adam", "none", "sgd"]
    assert list(first.points["train"].query("name == 'AdamW'").x) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("figure", ["over_width", "over_depth", "over_steps", "curves", "ranks"])
def test_every_figure_draws_every_method_in_its_colour(figure, gathered, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda drawn, stem: seen.append(drawn))
    record = replace(gathered, sweep=replace(gathered.sweep, figure=figure))
    figures.figure(record, tmp_path / "figure", "Title")
    drawn = [line.get_color() for axes in seen[0].axes for line in axes.get_lines()]
    drawn += [bar.get_facecolor() for axes in seen[0].axes for bar in axes.patches]
    colors = set(map(to_hex, drawn))
    assert {"#d55e00", "#e69f00", "#4d4d4d"} <= colors


def test_names_of_methods_keep_their_colours_and_variants_are_lighter():
    names = [
        ("µLO_M", "mup"),
        ("µLO_S", "mup"),
        ("LO_M", "sp"),
        ("µVeLO_M", "mup"),
        ("AdamW (oracle)", "sp"),
        ("x", "sp"),
    ]
    looks = style.lines(names)
    assert looks["µLO_M", "mup"] == ("#D55E00", "s", "-")
    assert looks["µLO_S", "mup"] == ("#E8A673", "s", "-")  # 45% of the way to white
    assert looks["LO_M", "sp"].linestyle == "--"
    assert looks["µVeLO_M", "mup"].color == style.lines([("velo_mup", "mup")])["velo_mup", "mup"].color
    assert looks["AdamW (oracle)", "sp"].color == style.lighter("#4D4D4D")
    assert len({look.color for look in looks.values()}) == len(names)


def test_a_coordinate_check_has_a_panel_per_method_with_meta_seeds_averaged(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda drawn, stem: seen.append(drawn))
    for name, parametrization, seed, factor in (
        ("µLO_M", "mup", 0, 1.0),
        ("LO_M", "sp", 0, 0.5),
        ("LO_M", "sp", 1, 1.5),
    ):
        folder = tmp_path / f"{name}{seed}"
        sweep.write_job(folder, sweep.config(name, seed, sweep.sweep_head(figure="coordinate_check", claims=[])), [])
        CHANGES.write(
            changes({16: factor, 64: 2 * factor}, parametrization=parametrization), folder / "coordinate_check.csv"
        )
    figures.figure(gather(jobs_of(tmp_path)), tmp_path / "figure", "Title")
    panels = {axes.get_title().split("\n")[0]: axes for axes in seen[0].axes}
    assert set(panels) == {"LO_M in SP", "µLO_M in µP"}
    for axes in panels.values():
        ((line),) = axes.get_lines()
        assert list(line.get_ydata()) == [1.0, 2.0]


def test_one_exploded_training_does_not_move_the_line_and_is_counted(gathered, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda drawn, stem: seen.append(drawn))
    figures.figure(sweep.exploded(gathered), tmp_path / "figure", "Title")
    right = seen[0].axes[1]
    line = next(line for line in right.get_lines() if line.get_label() == "µLO_M")
    assert list(line.get_ydata()) == pytest.approx([0.318, 0.414])  # the fifth of nine
    assert {text.get_text() for text in right.texts} >= {"× 1/9", "× 3/9"}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of each picture in reading order, instead of its files."""
    seen = []
    monkeypatch.setattr(style, "save", lambda figure, stem: seen.append(figure.axes))
    return seen


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


@pytest.mark.parametrize("draw", [figures.final_losses, figures.curves])
def test_png_and_svg_are_written_and_the_svg_is_the_same_every_time(gathered, tmp_path, draw):
    for name in ("first", "second"):
        draw(gathered, tmp_path / name, "Title")
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
    assert (tmp_path / "first.png").stat().st_size > 15_000


def test_final_losses_show_medians_quartiles_and_what_exploded(gathered, tmp_path, drawn):
    figures.final_losses(gathered, tmp_path / "figure", "Title")
    ((test, train),) = drawn
    assert (test.get_ylabel(), train.get_ylabel()) == ("test loss", "train loss")
    assert [tick.get_text() for tick in test.get_xticklabels()] == ["16", "64"]
    assert list(lines(train)["µLO_M"].get_ydata()) == pytest.approx([0.314, 0.414])
    assert list(lines(test)["µLO_M"].get_ydata()) == pytest.approx([0.414, 0.514])
    # Of .304 .308 .310 .314 … .328 the third and the seventh.
    np.testing.assert_allclose(train.collections[0].get_segments()[0], [[16, 0.308], [16, 0.32]])
    assert [lines(test)[name].get_linestyle() for name in ("µLO_M", "LO_M")] == ["-", "--"]
    assert [(text.get_text(), text.xy) for text in test.texts if "×" in text.get_text()] == [("× 3/9", (64, 1))]


@pytest.mark.parametrize(("widths", "shown"), [([8, 16], True), ([4, 8], False), ([], False)])
def test_meta_training_widths_are_shaded_where_they_are_shown(gathered, tmp_path, drawn, widths, shown):
    """Otherwise there is neither a shade nor, what would squeeze the panels, a text outside."""
    jobs = [replace(job, trained_widths={"mlp": widths} if widths else {}) for job in gathered.jobs]
    figures.final_losses(replace(gathered, jobs=jobs), tmp_path / "figure", "Title")
    ((panel, _),) = drawn
    assert bool(panel.patches) == shown
    assert ("meta-training widths" in [text.get_text() for text in panel.texts]) == shown
    if shown:
        left, width = panel.patches[0].get_x(), panel.patches[0].get_width()
        assert left < 16 < left + width < 64


def test_curves_mark_where_seeds_diverge_and_go_on_with_the_others(gathered, tmp_path, drawn):
    figures.curves(gathered, tmp_path / "figure", "Title")
    ((panel,),) = drawn
    curve, steps = gathered.curves["LO_M/sp/mlp/fashion_mnist_8x8/w64/d3/n300/m1"], gathered.curves["n300/steps"]
    assert panel.get_title().startswith("MLP on fashion_mnist_8x8, width 64")
    line = lines(panel)["LO_M"]
    np.testing.assert_array_equal(line.get_xdata(), steps)
    # Meta-seed 1 has the middle one of the seeds of each kind; after the divergence two of three are left.
    assert line.get_ydata()[-1] == pytest.approx(curve[:2, -1].mean())
    assert [text.xy[0] for text in panel.texts] == [steps[np.isfinite(curve[2]).sum()]]


def test_curves_that_explode_do_not_flatten_the_others(gathered, tmp_path, drawn):
    key = "LO_M/sp/mlp/fashion_mnist_8x8/w64/d3/n300/m1"
    exploding = gathered.curves[key] * np.where(np.arange(200) > 100, 1e20, 1.0)
    figures.curves(replace(gathered, curves=gathered.curves | {key: exploding}), tmp_path / "figure", "Title")
    ((panel,),) = drawn
    first = max(values[:, 0].max() for key, values in gathered.curves.items() if "/w64/" in key and "test" not in key)
    assert panel.get_ylim()[1] <= 4 * first * 1.0001
