"""Whether a setting's best value stays the same over widths, told from results that were written by hand."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mulo.config import SweepConfig
from mulo.evaluation.results import SPLITS
from mulo.reporting import style
from mulo.reporting.record import Record, figures, text, transfer, web, write, write_up

HEAD = SweepConfig(name="figure/x", question="?", figure="transfer", setting="optimizer.learning_rate")
RATES = (0.1, 0.14, 0.2, 0.28, 0.4)
BEST = {"stays": {64: 0.2, 128: 0.14, 256: 0.28}, "falls": {64: 0.28, 128: 0.2, 256: 0.1}}
BEST |= {"at the edge": {64: 0.4, 128: 0.4, 256: 0.28}}


def loss(method, width, rate, seed):
    """A parabola around the best rate in its logarithm; one seed is 0.1 higher."""
    return 0.5 + np.log(rate / BEST[method][width]) ** 2 + 0.1 * (seed == 2)


def row(split, method, width, rate, seed, value):
    names = {"method": method, "parametrization": "mup", "task": "mlp", "data": "synthetic", "width": width, "depth": 3}
    more = {"num_steps": 9, "meta_seed": 0, "seed": seed, "split": split, "status": "finished"}
    return names | more | {"loss": 2.3 if split == "initial" else value, HEAD.setting: f"{rate}"}


def made(losses=loss, methods=tuple(BEST), rates=RATES):
    """A record without jobs, of three seeds."""
    runs = [(m, w, r, s) for m in methods for w in (64, 128, 256) for r in rates for s in range(3)]
    rows = pd.DataFrame([row(split, *run, losses(*run)) for run in runs for split in SPLITS])
    return Record(HEAD, "cpu", "2030-01-02", [HEAD.setting], 0.0, [], rows)


def test_it_holds_within_a_factor_of_two_inside_the_grid():
    assert transfer.sentences(made()) == [
        "**holds**: stays on the MLP: best learning rate 0.2, 0.14, 0.28 at widths 64, 128, 256: "
        "within a factor of 2 and inside the grid.",
        "**does not hold**: falls on the MLP: best learning rate 0.28, 0.2, 0.1 at widths 64, 128, 256: "
        "a factor of 2.8 apart but not inside the grid at width 256.",
        "**undecided**: at the edge on the MLP: best learning rate 0.4, 0.4, 0.28 at widths 64, 128, 256: "
        "within a factor of 1.4 but not inside the grid at widths 64, 128.",
    ]
    table = transfer.table(made())
    assert table.header[2:6] == ["width 64", "width 128", "width 256", "largest / smallest"]
    assert table.rows[1] == ["falls", "MLP", "0.28", "0.2", "0.1", "2.8", "no", "does not hold"]


def test_every_seed_counts_and_a_diverged_one_as_infinite():
    """At 0.2, the best rate of two seeds at width 64, the third is lost, so that the mean is lowest at 0.14."""

    def uneven(method, width, rate, seed):
        return np.inf if (width, rate, seed) == (64, 0.2, 1) else loss(method, width, rate, seed) - 0.1 * (rate == 0.14)

    (result,) = transfer.transfers(made(uneven, ["stays"]))
    assert result.best[64] == 0.14
    (lost,) = transfer.transfers(made(lambda *run: np.inf if run[1] == 64 else loss(*run), ["stays"]))
    assert np.isnan(lost.best[64])
    assert (lost.outside, lost.outcome) == ([64], "undecided")


def test_one_width_decides_nothing_and_one_value_or_another_figure_says_nothing():
    record = made(methods=["stays"])
    narrow = replace(record, results=record.results[record.results.width == 64])
    assert [result.outcome for result in transfer.transfers(narrow)] == ["undecided"]
    alone = replace(record, varied=[], results=record.results[record.results[HEAD.setting] == "0.2"])
    assert transfer.sentences(replace(alone, results=alone.results.drop(columns=HEAD.setting))) == []
    assert transfer.sentences(replace(record, sweep=replace(HEAD, figure="over_setting"))) == []


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(style, "save", lambda figure, stem: seen.append(figure))
    figures.figure(made(), tmp_path / "figure", "Title")
    return seen[0].axes


def test_the_picture_has_a_line_per_width_with_its_best_value_marked(drawn):
    assert [axes.get_title() for axes in drawn] == [f"{name}, MLP" for name in BEST]
    for axes, best in zip(drawn, BEST.values(), strict=True):
        assert axes.get_xscale() == "log"
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) == len(RATES) and line.get_marker() == "o"]
        stars = [line for line in axes.get_lines() if line.get_marker() == "*" and len(line.get_xdata())]
        assert [star.get_xdata()[0] for star in stars] == list(best.values())
        assert [star.get_ydata()[0] for star in stars] == [0.5] * 3  # the median of 0.5, 0.5, 0.6
        assert [line.get_color() for line in lines] == [star.get_color() for star in stars]
        assert len({line.get_color() for line in lines}) == 3
    whiskers = drawn[0].collections[0].get_segments()
    np.testing.assert_allclose(whiskers[2], [[0.2, 0.5], [0.2, 0.6]])


def test_readme_page_and_terminal_have_table_and_sentences(tmp_path):
    record = made()
    write(record, tmp_path)
    console = Console(width=300, file=io.StringIO())
    write_up(tmp_path, console)
    printed, readme = console.file.getvalue(), (tmp_path / "README.md").read_text("utf-8")
    for sentence in transfer.sentences(record):
        assert f"- {sentence}" in readme
        assert sentence.replace("**", "") in printed
    assert text.markdown(transfer.table(record)) in readme
    assert "Best learning rate by width" in printed
    page = web.contents(record, "Title")
    assert page.tables[0] == transfer.table(record)
    assert [chart.title for chart in page.charts] == [f"Final train loss over learning rate: {m}, MLP" for m in BEST]
    assert [series.label for series in page.charts[0].series] == ["width 64", "width 128", "width 256"]
