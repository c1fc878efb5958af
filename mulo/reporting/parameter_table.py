"""A network's parameters with their multipliers, as a table on the terminal and as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.table import Table

from mulo.files import replacing


class ParameterRow(NamedTuple):
    """One parameter under one optimizer."""

    task: str
    parameter: str
    role: str
    shape: str
    fan_in: int
    init_mean: float
    init_std: float
    forward: float
    """Factor on what it contributes to its layer's pre-activation."""
    update: float
    """Factor on the optimizer's update."""
    weight_decay: float
    """Factor on learning rate · weight decay, that on the update included."""
    epsilon: float
    """Factor on Adam's ε."""


def parameter_table(rows: Sequence[ParameterRow], title: str) -> Table:
    """A row per parameter."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("parameter", no_wrap=True)
    table.add_column("role", no_wrap=True)
    epsilon = ["ε ×"] if any(row.epsilon != 1 for row in rows) else []
    for column in ("shape", "init std", "forward ×", "update ×", "decay ×", *epsilon):
        table.add_column(column, justify="right")
    for row in rows:
        init = f"{row.init_std:.4g}" if row.init_std else f"all {row.init_mean:g}"
        numbers = [f"{value:.4g}" for value in (row.forward, row.update, row.weight_decay, row.epsilon)]
        table.add_row(row.parameter, row.role, row.shape, init, *numbers[: 3 + len(epsilon)])
    return table


def write_parameters(rows: Sequence[ParameterRow], path: Path) -> None:
    """Writes all rows as CSV."""
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ParameterRow._fields)
        writer.writerows(rows)
