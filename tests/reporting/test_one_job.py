"""What a single job prints and draws: the tables and pictures of a record with one job."""

import io

import pandas as pd
import pytest
from rich.console import Console

from mulo.evaluation.coordinate_rows import CHANGES
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import jobs_of
from mulo.reporting.html import Table
from mulo.reporting.labels import label
from mulo.reporting.record import grids, text, write_up_job
from tests.evaluation.test_coordinate_rows import changes
from tests.reporting import sweep_directory as sweep

ROWS = [(width, 40, seed, 0.25 + 0.25 * seed + width / 1e3) for width in (1024, 16) for seed in range(2)]


def printed(show, **settings):
    file = io.StringIO()
    result = show(Console(file=file, **({"width": 120} | settings)))
    return file.getvalue(), result


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    sweep.write_job(folder / "job", sweep.config(seed=3), ROWS)
    return gather(jobs_of(folder))


def test_tables_and_pictures_are_those_of_a_record(record, tmp_path):
    output, names = printed(lambda console: write_up_job(record, tmp_path, console))
    assert "MLP on fashion_mnist_8x8, depth 3, 40 steps; 1 meta-seed (3), each with 2 evaluation seeds." in output
    assert "train loss at the end" in output
    assert output.index("│ 16 ") < output.index("│ 1024")  # as numbers
    for row in grids.losses(record, "test", "x").rows:
        assert all(text_of_cell in output for text_of_cell in row)
    assert names == ["loss_over_width", "curves"]
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert "\x1b" not in output


def test_a_coordinate_check_has_its_table_and_its_picture(tmp_path):
    sweep.write_job(tmp_path / "jobs/job", sweep.config("LO_M", mode="coordinate_check"), [])
    rows = pd.concat([changes({8: 1.0, 16: 2.0}), changes({8: 0.0, 16: 0.0}, "rest")])
    CHANGES.write(rows, tmp_path / "jobs/job/coordinate_check.csv")
    record = gather(jobs_of(tmp_path / "jobs"))
    output, names = printed(lambda console: write_up_job(record, tmp_path, console), width=160)
    assert "does not hold: LO_M on the MLP in µP: 0 of 1 changes have a slope within ±0.1 over width." in output
    assert "constant" in output
    assert "+1.000" in output
    assert names == ["coordinate_check"]
    assert (tmp_path / "coordinate_check.png").stat().st_size > 10_000


def test_what_failed_everywhere_is_told(tmp_path):
    sweep.write_job(tmp_path / "jobs/job", sweep.config(), ROWS[:1], curves=False)
    table = tmp_path / "jobs/job/evaluation/results.csv"
    lines = [line.rsplit(",", 2)[0] + ",nan,failed(no memory)" for line in table.read_text("utf-8").splitlines()[1:]]
    table.write_text("\n".join([sweep.COLUMNS, *lines, ""]), encoding="utf-8")
    output, _ = printed(lambda console: write_up_job(gather(jobs_of(tmp_path / "jobs")), tmp_path, console))
    assert "1 failed" in output


def test_the_best_is_bold_on_a_terminal():
    grid = Table(["width", "a", "b"], [["8", "0.4", "0.3"]], "Title", frozenset({(0, 2)}))
    output, _ = printed(
        lambda console: console.print(text.terminal(grid)), force_terminal=True, color_system="standard"
    )
    assert "\x1b[1m0.3\x1b[0m" in output
    assert "\x1b[1m0.4\x1b[0m" not in output


def test_five_methods_fit_an_ordinary_terminal():
    grid = Table(["width", *"abcde"], [["128", *["0.50 (0.49 … 0.51)"] * 5]], "Title")
    output, _ = printed(lambda console: console.print(text.terminal(grid)), width=125)
    (row,) = [line for line in output.splitlines() if "128" in line]
    assert row.count("0.50 (0.49 … 0.51)") == 5


def test_labels():
    names = ("velo_mup", "velo_sp", "small_fc_mup", "small_fc_sp", "adamw", "mu_adam", "mup", "sp", "mine")
    output = ["µVeLO", "VeLO (SP)", "µLO", "LO (SP)", "AdamW", "µAdam", "µP", "SP", "mine"]
    assert [label(name) for name in names] == output
