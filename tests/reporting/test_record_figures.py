"""The pictures of records: what is on which axis, and in which colour."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from mulo.evaluation.coordinate_rows import rows_with_slope, write_rows
from mulo.jobs.gather import gather
from mulo.reporting import style
from mulo.reporting.record import cells, figures, panels
from tests.reporting import sweep_directory as sweep


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    return gather(sweep.write_sweep(tmp_path_factory.mktemp("sweep") / "jobs", sweep.separated))


def test_values_without_numbers_stand_in_the_order_found(gathered):
    kinds = {0: "adam", 1: "sgd", 2: "none"}
    head = replace(gathered.sweep, figure="over_setting", setting="kind")
    own = [replace(row, settings={"kind": kinds[row.meta_seed]}) for row in gathered.losses]
    varied = replace(gathered, sweep=head, varied=["kind"], losses=own)
    first, *_ = panels.panels(varied, cells.by_place(varied))
    assert not first.numeric
    assert first.ticks == ["adam", "none", "sgd"]
    assert [point.x for point in first.lines["AdamW"]] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("figure", ["over_width", "over_depth", "over_steps", "curves", "ranks"])
def test_every_figure_draws_every_contestant_in_its_colour(figure, gathered, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda drawn, stem: seen.append(drawn))
    own = replace(gathered, sweep=replace(gathered.sweep, figure=figure))
    figures.figure(own, cells.by_place(own), tmp_path / "figure", "Title")
    drawn = [line.get_color() for axes in seen[0].axes for line in axes.get_lines()]
    drawn += [bar.get_facecolor() for axes in seen[0].axes for bar in axes.patches]
    colors = set(map(to_hex, drawn))
    assert {"#d55e00", "#e69f00", "#4d4d4d"} <= colors


def test_names_of_contestants_keep_their_colours_and_variants_are_lighter():
    names = [
        ("µLO_M", "mup"),
        ("µLO_S", "mup"),
        ("LO_M", "sp"),
        ("µVeLO_M", "mup"),
        ("AdamW (oracle)", "sp"),
        ("x", "sp"),
    ]
    found = style.lines(names)
    assert found["µLO_M", "mup"] == ("#D55E00", "s", "-")
    assert found["µLO_S", "mup"] == ("#E8A673", "s", "-")  # 45% of the way to white
    assert found["LO_M", "sp"].linestyle == "--"
    assert found["µVeLO_M", "mup"].color == style.lines([("velo_mup", "mup")])["velo_mup", "mup"].color
    assert found["AdamW (oracle)", "sp"].color == style.lighter("#4D4D4D")
    assert len({look.color for look in found.values()}) == len(names)


def test_a_coordinate_check_has_a_panel_per_contestant_with_meta_seeds_averaged(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda drawn, stem: seen.append(drawn))
    for name, scheme, seed, factor in (("µLO_M", "mup", 0, 1.0), ("LO_M", "sp", 0, 0.5), ("LO_M", "sp", 1, 1.5)):
        folder = tmp_path / f"{name}{seed}"
        sweep.write_job(folder, sweep.config(name, seed, sweep.sweep_head(figure="coordinate_check", claims=[])), [])
        head = {
            "optimizer": "x",
            "parametrization": scheme,
            "measure": "x_t - x_0",
            "layer": "hidden_0",
            "over": "width",
        }
        write_rows(rows_with_slope({16: factor, 64: 2 * factor}, t=1, **head), folder / "coordinate_check.csv")
    figures.figure(gather(tmp_path), {}, tmp_path / "figure", "Title")
    panels = {axes.get_title().split("\n")[0]: axes for axes in seen[0].axes}
    assert set(panels) == {"LO_M in SP", "µLO_M in µP"}
    for axes in panels.values():
        ((line),) = axes.get_lines()
        assert list(line.get_ydata()) == [1.0, 2.0]


def test_one_exploded_training_does_not_move_the_line_and_is_counted(gathered, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda drawn, stem: seen.append(drawn))
    hit = next(i for i, row in enumerate(gathered.losses) if (row.contestant, row.result.width) == ("µLO_M", 16))
    own = list(gathered.losses)
    own[hit] = replace(own[hit], result=own[hit].result._replace(train_loss=3e5))
    changed = replace(gathered, losses=own)
    figures.figure(changed, cells.by_place(changed), tmp_path / "figure", "Title")
    right = seen[0].axes[1]
    line = next(line for line in right.get_lines() if line.get_label() == "µLO_M")
    assert list(line.get_ydata()) == pytest.approx([0.318, 0.414])  # the fifth of nine
    assert {text.get_text() for text in right.texts} >= {"× 1/9", "× 3/9"}
