"""`results/latest.json` as a Markdown table and a figure. `python -m benchmarks.table` draws them anew."""

from collections.abc import Iterable
from typing import Any

from benchmarks import original, quotes, record
from benchmarks.record import Row
from mulo.files import replacing
from mulo.reporting import style

SECTIONS = {
    "update": (
        "The update alone, MLP 784–w–w–w–10",
        "architecture hidden lstm width form ms_median ratio_to_straightforward ratio_to_adam roofline_fraction "
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
        "architecture hidden lstm width form scratch_bytes_per_parameter traffic_bytes_per_parameter",
    ),
    "first_step": ("First outer step of the quick preset", "form ms_median ms_from_start_of_meta_training"),
}
"""Title and columns of each benchmark."""


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
            parts += ["### Beside google/learned_optimization itself", _originals(found)]
    return "\n\n".join(parts) + "\n"


ORIGINALS = (
    "The same sizes and the same network, in a process of its own that takes its turns among the others; at version {} "
    "of that code."
)


def _originals(rows: list[Row]) -> str:
    theirs = [row for row in rows if row["form"] == original.FORM]
    if not theirs:
        return f"Not in this record: {original.MISSING}"
    lines = [
        "| architecture | hidden | lstm | width | original, ms | straightforward, ms | native, ms | original / native |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in theirs:
        same = ("architecture", "hidden", "lstm", "width")
        own = {r["form"]: r["ms_median"] for r in rows if all(r.get(key) == row[key] for key in same)}
        cells = (*(row[key] for key in same), row["ms_median"], own["straightforward"], own["native"])
        lines.append("| " + " | ".join(map(_cell, (*cells, row["ms_median"] / own["native"]))) + " |")
    versions = ", ".join(dict.fromkeys(row["version"] for row in theirs))
    return "\n".join(lines) + f"\n\n{ORIGINALS.format(versions)}"


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
    panels = list(dict.fromkeys(_which(row) for row in own))
    if not panels:
        return
    adam = [row for row in _of(rows, "update") if row["form"] == "optax"]
    with style.picture(record.FOLDER / "latest", 1, len(panels), (3 * len(panels), 3.4), sharey=True) as (drawn, axes):
        for axis, panel in zip(axes[0], panels, strict=True):
            _panel(axis, [row for row in own if _which(row) == panel], adam)
            axis.set_title(f"{panel[0]}, hidden {panel[1]}" + (f", LSTM {panel[2]}" if panel[2] else ""))
        axes[0][0].set_ylabel("million parameters per second")
        drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
        drawn.suptitle("Update of an MLP 784–w–w–w–10 on CPU")


def _which(row: Row) -> tuple[Any, ...]:
    return row["architecture"], row["hidden"], row.get("lstm")


def _panel(axis: Any, own: list[Row], adam: list[Row]) -> None:
    widths = sorted({row["width"] for row in own})
    looks = {"native": ("#0072B2", "o"), "jax": ("#E69F00", "s"), "straightforward": ("#D55E00", "v")}
    looks[original.FORM] = ("#CC79A7", "^")
    for form, (color, marker) in looks.items():
        rows = sorted((row for row in own if row["form"] == form), key=lambda row: row["width"])
        if rows:
            axis.plot(widths, [row["parameters_per_s"] / 1e6 for row in rows], color=color, marker=marker, label=form)
    native = sorted((row for row in own if row["form"] == "native"), key=lambda row: row["width"])
    peak = [row["parameters_per_s"] / row["roofline_fraction"] / 1e6 for row in native]
    axis.plot(widths, peak, color="#4D4D4D", linestyle=":", label="roofline")
    rows = sorted(adam, key=lambda row: row["width"])
    axis.plot(widths, [row["parameters_per_s"] / 1e6 for row in rows], color="#009E73", marker="D", label="optax.adamw")
    axis.set_yscale("log", base=2)
    axis.set_yticks([4, 16, 64, 256, 1024], ["4", "16", "64", "256", "1024"])
    style.size_axis(axis, widths)


def main() -> None:
    """Writes latest.md, latest.png and latest.svg, and what the texts quote of them."""
    rows = record.read()
    with replacing(record.FOLDER / "latest.md") as partial:
        partial.write_text(markdown(rows), "utf-8")
    figure(rows)
    for path in quotes.TEXTS:
        path.write_text(quotes.filled(path.read_text("utf-8"), rows), "utf-8")


if __name__ == "__main__":
    main()
