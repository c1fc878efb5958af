"""The overview of a coordinate check: a row per parametrization, a column per optimizer, slopes in words."""

import numpy as np
import pandas as pd
import pytest

from mulo.reporting import coordinate_plot, style

POWERS = {("mu_adam", "mup"): 0.0, ("mu_adam", "sp"): 1.0, ("velo_mup", "mup"): -0.25, ("velo_mup", "sp"): 0.5}


def rows(over="width"):
    rows = [
        {"method": o, "parametrization": p, "measure": m, "layer": layer, "t": t, "over": over, "size": n}
        | {"std": scale * n**power, "slope": power}
        for (o, p), power in POWERS.items()
        for m in ("x_t - x_0", "(W_t - W_0) x")
        for layer, scale in (("input", 1.0), ("output", 3.0))
        for t in (1, 2)
        for n in (64, 256)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def panels(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(style, "save", lambda figure, stem: seen.extend(figure.axes))
    coordinate_plot.coordinate_overview(rows(), tmp_path / "figure", "Title", "x_t - x_0", 2)
    return np.reshape(seen, (2, 2))


def test_panels_say_optimizer_and_slopes(panels):
    assert [panel.get_title() for panel in panels[0]] == ["µAdam\nslopes +0.00 … +0.00", "µVeLO\nslopes −0.25 … −0.25"]
    assert [panel.get_title() for panel in panels[1]] == ["slopes +1.00 … +1.00", "slopes +0.50 … +0.50"]
    assert [panels[i, 0].get_ylabel().split(":")[0] for i in range(2)] == ["µP", "SP"]


def test_lines_are_those_of_one_measure_and_time(panels):
    drawn = [line.get_xydata().tolist() for line in panels[1, 0].get_lines() if len(line.get_xydata()) == 2]
    assert drawn == [[[64, 64], [256, 256]], [[64, 192], [256, 768]]]
