import io
import math

import pytest
from rich.console import Console

from mulo.errors import MuloError
from mulo.evaluation.results import Summary
from mulo.reporting.labels import label
from mulo.reporting.tables import print_results, results_table

NAN = math.nan


def summary(optimizer, parametrization, width, loss, error=0.01, diverged=0, **changes):
    fields = (optimizer, parametrization, "mlp", width, 3, 200, loss, error, loss, error, 3, diverged)
    return Summary(*fields)._replace(**changes)


ROWS = [
    summary("velo_mup", "mup", 128, 0.4123),
    summary("velo_mup", "mup", 1024, 0.35),
    summary("velo_sp", "sp", 128, 0.4019, NAN),
    summary("velo_sp", "sp", 1024, NAN, NAN, diverged=3),
    summary("adamw", "sp", 1024, 0.2, 0.05, diverged=1),
]


def cells(table):
    """Plain text and style of every cell, row by row."""
    columns = [list(column.cells) for column in table.columns]
    return [[(str(cell), str(getattr(cell, "style", ""))) for cell in row] for row in zip(*columns, strict=True)]


def test_rows_columns_and_cells():
    table = results_table(ROWS)
    assert [column.header for column in table.columns] == ["width", "µVeLO", "VeLO (SP)", "AdamW"]
    assert cells(table) == [
        [("128", ""), ("0.412 ± 0.010", ""), ("0.402", "bold"), ("–", "")],
        [("1024", ""), ("0.350 ± 0.010", "bold"), ("diverged 3/3", ""), ("0.200 ± 0.050\ndiverged 1/3", "")],
    ]


def test_very_large_and_very_small_losses_keep_their_digits():
    table = results_table([summary("a", "sp", 8, 0.000123, 0.00001), summary("a", "sp", 16, 4.56e7, 1e6)])
    assert [row[1][0] for row in cells(table)] == ["1.23e-04 ± 1.00e-05", "4.56e+07 ± 1.00e+06"]


def test_widths_are_sorted_as_numbers():
    table = results_table([summary("a", "sp", width, 1.0) for width in (1024, 128, 2048)])
    assert [row[0][0] for row in cells(table)] == ["128", "1024", "2048"]


def test_competing_cells_are_refused():
    with pytest.raises(MuloError, match="velo_mup at width 128"):
        results_table([ROWS[0], ROWS[0]._replace(depth=6)])


def test_printing_makes_one_table_per_network_family():
    file = io.StringIO()
    rows = [*ROWS, *(row._replace(depth=12, steps=5000) for row in ROWS)]
    print_results(rows, Console(file=file))
    text = file.getvalue()
    assert "on mlp, depth 3, after 200 steps" in text
    assert "on mlp, depth 12, after 5000 steps" in text
    assert text.count("0.412 ± 0.010") == 2
    assert "\x1b" not in text


def test_an_ablation_names_the_networks_parametrization():
    table = results_table([summary("velo_mup", "mup", 8, 0.5), summary("velo_mup", "sp", 8, 0.6)])
    assert [column.header for column in table.columns] == ["width", "µVeLO", "µVeLO in SP"]


def test_five_optimizers_fit_an_ordinary_terminal():
    names = [("velo_mup", "mup"), ("velo_sp", "sp"), ("small_fc_mup", "mup"), ("adamw", "sp"), ("mu_adam", "mup")]
    file = io.StringIO()
    print_results([summary(*name, 128, 0.5) for name in names], Console(file=file, width=90))
    (row,) = [line for line in file.getvalue().splitlines() if "128" in line]
    assert row.count("0.500 ± 0.010") == 5


def test_the_best_is_bold_on_a_terminal():
    file = io.StringIO()
    print_results(ROWS, Console(file=file, force_terminal=True, width=120, color_system="standard"))
    assert "\x1b[1m0.350 ± 0.010\x1b[0m" in file.getvalue()


def test_labels():
    names = ("velo_mup", "velo_sp", "small_fc_mup", "small_fc_sp", "adamw", "mu_adam", "mup", "sp", "mine")
    said = ["µVeLO", "VeLO (SP)", "µLO", "LO (SP)", "AdamW", "µAdam", "µP", "SP", "mine"]
    assert [label(name) for name in names] == said
