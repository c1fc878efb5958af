"""`results/latest.json` as a Markdown table and a figure. `python -m benchmarks.table` draws them anew."""

from collections.abc import Iterable
from typing import Any

from benchmarks import record
from benchmarks.record import Row
from mulo.evaluation.results import replacing
from mulo.reporting import style

SECTIONS = {
    "update": (
        "The update alone, MLP 784–w–w–w–10",
        "architecture hidden width form ms_median ratio_to_straightforward ratio_to_adam roofline_fraction "
        "scratch_bytes_per_parameter compile_s",
    ),
    "training_step": (
        "A whole training step, MLP 784–w–w–w–10",
        "architecture hidden width batch_size ms_median ratio_to_adam flops_per_call",
    ),
    "meta_training": (
        "Meta-training: 8 pairs, truncation 50",
        "network hidden form ms_median outer_steps_per_s inner_steps_per_s ratio_to_straightforward",
    ),
    "devices": ("Meta-training on devices and processes", "form ms_median ratio_to_one_thread"),
    "tpu_program": (
        "The update compiled for a TPU v5e, not run",
        "architecture hidden width form scratch_bytes_per_parameter traffic_bytes_per_parameter",
    ),
    "first_step": ("First outer step of the quick preset", "form ms_median ms_from_start_of_meta_training"),
}
"""Title and columns of each benchmark."""


ORIGINAL_MS = {
    ("small_fc", 32): {128: 22.5, 512: 157, 1024: 425, 2048: 1201},
    ("velo", 4): {128: 21, 512: 168, 1024: 437, 2048: 2001},
}
"""Medians of google/learned_optimization itself, measured once on a machine of the same kind; not in this run."""


def markdown(rows: list[Row]) -> str:
    """All benchmarks, one table each, under the machine that they ran on."""
    machine = next(iter(_of(rows, "machine")), {})
    known = {key: value for key, value in machine.items() if value is not None and key != "benchmark"}
    parts = ["# Benchmarks", ", ".join(f"{key}: {_cell(value)}" for key, value in known.items())]
    for name, (title, columns) in SECTIONS.items():
        found = list(_of(rows, name))
        if found:
            commits = ", ".join(dict.fromkeys(str(row["commit"]) for row in found))
            parts += [f"## {title}", _table(found, columns.split()), f"`python -m benchmarks {name}`, at {commits}."]
        if name == "update" and found:
            parts += ["### Beside google/learned_optimization itself", _originals(found), ORIGINALS]
    return "\n\n".join(parts) + "\n"


ORIGINALS = (
    "Its medians were measured once, on a machine of the same kind: a check that the straightforward form is a fair "
    "yardstick, not a comparison within one run."
)


def _originals(rows: list[Row]) -> str:
    lines = ["| architecture | hidden | width | original, ms | straightforward, ms | native, ms | original / native |"]
    lines.append("|---|---|---|---|---|---|---|")
    for (architecture, hidden), medians in ORIGINAL_MS.items():
        for width, original in medians.items():
            own = {
                row["form"]: row["ms_median"]
                for row in rows
                if (row["architecture"], row["hidden"], row["width"]) == (architecture, hidden, width)
            }
            cells = (architecture, hidden, width, original, own["straightforward"], own["native"])
            lines.append("| " + " | ".join(map(_cell, (*cells, original / own["native"]))) + " |")
    return "\n".join(lines)


def _of(rows: Iterable[Row], benchmark: str) -> Iterable[Row]:
    return (row for row in rows if row["benchmark"] == benchmark)


def _table(rows: list[Row], columns: list[str]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def figure(rows: list[Row]) -> None:
    """Parameters per second over width: one panel per learned optimizer, its forms and Adam, and the roofline."""
    own = [row for row in _of(rows, "update") if row["form"] != "optax"]
    panels = list(dict.fromkeys((row["architecture"], row["hidden"]) for row in own))
    if not panels:
        return
    adam = [row for row in _of(rows, "update") if row["form"] == "optax"]
    with style.picture(record.FOLDER / "latest", 1, len(panels), (3 * len(panels), 3.4), sharey=True) as (drawn, axes):
        for axis, panel in zip(axes[0], panels, strict=True):
            mine = [row for row in own if (row["architecture"], row["hidden"]) == panel]
            _panel(axis, mine, adam)
            axis.set_title(f"{panel[0]}, hidden {panel[1]}")
        axes[0][0].set_ylabel("million parameters per second")
        drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        drawn.suptitle("Update of an MLP 784–w–w–w–10 on CPU")


def _panel(axis: Any, own: list[Row], adam: list[Row]) -> None:
    widths = sorted({row["width"] for row in own})
    looks = {"native": ("#0072B2", "o"), "jax": ("#E69F00", "s"), "straightforward": ("#D55E00", "v")}
    for form, (color, marker) in looks.items():
        rows = sorted((row for row in own if row["form"] == form), key=lambda row: row["width"])
        axis.plot(widths, [row["parameters_per_s"] / 1e6 for row in rows], color=color, marker=marker, label=form)
    native = sorted((row for row in own if row["form"] == "native"), key=lambda row: row["width"])
    peak = [row["parameters_per_s"] / row["roofline_fraction"] / 1e6 for row in native]
    axis.plot(widths, peak, color="#4D4D4D", linestyle=":", label="roofline")
    rows = sorted(adam, key=lambda row: row["width"])
    axis.plot(widths, [row["parameters_per_s"] / 1e6 for row in rows], color="#009E73", marker="D", label="optax.adamw")
    axis.set_yscale("log", base=2)
    axis.set_yticks([4, 16, 64, 256], ["4", "16", "64", "256"])
    style.width_axis(axis, widths)


def main() -> None:
    """Writes latest.md, latest.png and latest.svg."""
    rows = record.read()
    with replacing(record.FOLDER / "latest.md") as partial:
        partial.write_text(markdown(rows))
    figure(rows)


if __name__ == "__main__":
    main()
