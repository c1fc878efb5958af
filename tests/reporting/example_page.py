"""A page as a record would hold it: six optimizers, three charts, two tables."""

import numpy as np

from mulo.reporting.html import Chart, Page, Series, Table

LOOKS = {
    "µVeLO_M": ("#0072B2", False),
    "VeLO (SP)": ("#56B4E9", True),
    "µLO_M (λ1 = 0.01)": ("#D55E00", False),
    "LO (SP, λ1 = 0.001)": ("#E69F00", True),
    "µAdam, lr tuned at width 64": ("#009E73", False),
    "AdamW, lr tuned at width 64": ("#4D4D4D", True),
}
STEPS = np.linspace(0, 4975, 200).round()
WIDTHS = np.array([64, 128, 256, 512, 1024, 2048, 4096, 8192])


def example() -> Page:
    """Deterministic; "VeLO (SP)" diverges in the first chart, and its last widths in the second are missing."""
    charts = [_training(), _widths(), _meta_training()]
    summary = (
        "Learned optimizers meta-trained on MLPs of widths 128, 512 and 1024, used up to width 8192 over 5000 steps.",
        "Under µP both keep improving far beyond the widths they saw; under standard parametrization VeLO diverges.",
    )
    footer = "Commit 5aab756 · seed 0 · 2 CPU cores · 2 h 14 min"
    title = "µLO: transfer to networks 8 times as wide"
    return Page(title, summary, charts, [_losses(), _settings()], footer)


def _training() -> Chart:
    random = np.random.default_rng(0)
    series = []
    for k, (label, (color, dashed)) in enumerate(LOOKS.items()):
        y = (0.25 + 0.06 * k) + 2.1 * np.exp(-STEPS / (250 + 190 * k)) * (1 + 0.04 * random.normal(size=200))
        if label == "VeLO (SP)":
            y = np.where(STEPS < 2200, y * np.exp(np.minimum(STEPS / 1500, 1.6) ** 6), np.nan)
        error = 0.05 * np.abs(y)
        series.append(Series(label, STEPS, y, color, y - error, y + error, dashed))
    note = "Mean over 5 seeds, band: ± standard error. A curve ends where its first seed diverged."
    return Chart("Train loss at width 8192", "inner step", "train loss", series, log_y=True, y_max=4.0, note=note)


def _widths() -> Chart:
    series = []
    for k, (label, (color, dashed)) in enumerate(LOOKS.items()):
        y = (0.4 + 0.05 * k) * (WIDTHS / 64.0) ** (-0.12 if not dashed else 0.1)
        if label == "VeLO (SP)":
            y[-3:] = np.nan
        series.append(Series(label, WIDTHS, y, color, y - 0.01, y + 0.012, dashed))
    return Chart("Test loss over width", "width", "test loss after 5000 steps", series, log_x=True)


def _meta_training() -> Chart:
    series = []
    for k, (label, (color, dashed)) in enumerate(list(LOOKS.items())[:4]):
        x = np.arange(1, 5001, 25 + 5 * k)
        series.append(Series(label, x, 2.2 / (1 + x / 300.0) + 0.8 + 0.1 * k, color, dashed=dashed))
    return Chart("Meta-training", "outer step", "meta-loss", series)


def _losses() -> Table:
    rows = [
        [int(width), *(f"{0.4 * (width / 64) ** -0.1 + 0.03 * k:.3f} ± 0.004" for k in range(len(LOOKS)))]
        for width in WIDTHS
    ]
    rows[-1][2] = "diverged 5/5"
    best = frozenset((i, 1) for i in range(len(rows)))
    return Table(["width", *LOOKS], rows, "Test loss ± standard error on mlp, depth 3, after 5000 steps", best)


def _settings() -> Table:
    rows = [
        ["µLO_M (λ1 = 0.01)", 2409, 0.0123456, "PES, 8 pairs, truncation 50"],
        ["µVeLO_M", 5057, 1234.5678, "PES, 8 pairs, truncation 50"],
        ["Adam", 4, float("nan"), "–"],
    ]
    return Table(["optimizer", "weights of θ", "hours", "estimator"], rows, "What was meta-trained")
