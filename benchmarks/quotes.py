"""What README and docs quote of the results: text between `<!-- bench:NAME -->` and `<!-- /bench -->`.

`python -m benchmarks.table` writes it anew, and a test holds it to the stored results, so that no number of it can
stand that was not measured.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import original
from benchmarks.record import Row

ROOT = Path(__file__).parents[1]
TEXTS = tuple(ROOT / name for name in ("README.md", "CHANGELOG.md", "docs/performance.md"))
_BLOCK = re.compile(r"(<!-- bench:(\w+) -->).*?(<!-- /bench -->)", re.DOTALL)


def filled(text: str, rows: list[Row]) -> str:
    """The text with every quotation as the results have it."""
    return _BLOCK.sub(lambda found: found[1] + QUOTES[found[2]](rows) + found[3], text)


def _updates(rows: list[Row], **wanted: object) -> list[Row]:
    own = (row for row in rows if row["benchmark"] == "update")
    return [row for row in own if all(row.get(key) == value for key, value in wanted.items())]


def span(values: Iterable[float]) -> str:
    """Such as 2.9 to 14, with two digits."""
    low, high = (f"{f:.2g}" if f < 100 else f"{f:.0f}" for f in _ends(values))
    return low if low == high else f"{low} to {high}"


def _ends(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)


def _native(rows: list[Row]) -> str:
    """How much faster the kernel is than the straightforward form."""
    return span(row["ratio_to_straightforward"] for row in _updates(rows, form="native"))


def _native_by_optimizer(rows: list[Row]) -> dict[str, dict[int, Row]]:
    found: dict[str, dict[int, Row]] = {}
    for row in _updates(rows, form="native"):
        lstm = f", LSTM {row['lstm']}" if row.get("lstm") else ""
        found.setdefault(f"{row['architecture']}, hidden {row['hidden']}{lstm}", {})[row["width"]] = row
    return found


def _to_adam(rows: list[Row]) -> str:
    """A table: the kernel's time over Adam's, a row per optimizer, a column per width."""
    found = _native_by_optimizer(rows)
    widths = sorted({width for own in found.values() for width in own})
    lines = ["| native kernel / Adam | " + " | ".join(f"width {width}" for width in widths) + " |"]
    lines.append("|---|" + "---|" * len(widths))
    for name, own in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{own[width]['ratio_to_adam']:.1f}" for width in widths) + " |")
    adam = {row["width"]: row["ms_median"] for row in _updates(rows, form="optax")}
    lines.append("| Adam itself, ms | " + " | ".join(f"{adam[width]:.3g}" for width in widths) + " |")
    return "\n" + "\n".join(lines) + "\n"


def _adam_said(rows: list[Row]) -> str:
    """The defaults of README's readers: µLO's small_fc and VeLO."""
    velo = _updates(rows, form="native", architecture="velo")
    small = _updates(rows, form="native", architecture="small_fc", hidden=32)
    ratios = [span(row["ratio_to_adam"] for row in own) for own in (velo, small)]
    return f"VeLO's update takes {ratios[0]} times as long as Adam's, small_fc's (hidden 32) {ratios[1]} times"


def _originals(rows: list[Row]) -> str:
    """By how much the kernel is faster than google/learned_optimization's own code, at equal sizes."""
    said = []
    for name in ("velo", "small_fc"):
        theirs = {row["width"]: row for row in _updates(rows, form=original.FORM, architecture=name)}
        ours = [row for row in _updates(rows, form="native", architecture=name) if _alike(row, theirs)]
        if ours:
            ratios = span(theirs[row["width"]]["ms_median"] / row["ms_median"] for row in ours)
            said.append(f"{ratios} times as fast for {'VeLO' if name == 'velo' else name}")
    if not said:
        return "not measured in this record"
    return " and ".join(said)


def _alike(row: Row, theirs: dict[int, Row]) -> bool:
    """Whether the original was measured at the same sizes."""
    other = theirs.get(row["width"])
    return other is not None and all(row.get(key) == other.get(key) for key in ("hidden", "lstm"))


def _of_roofline(rows: list[Row]) -> str:
    """small_fc's share of the roofline, in percent."""
    found = _updates(rows, form="native", architecture="small_fc", hidden=32)
    return span(100 * row["roofline_fraction"] for row in found) + " %"


def _smallest(rows: list[Row]) -> str:
    """Times at width 128."""
    return span(row["ms_median"] for row in _updates(rows, form="native", width=128)) + " ms"


def _scratch(rows: list[Row]) -> str:
    """Bytes per parameter beyond the donated state: of the kernel, and of Adam."""
    native, adam = (
        _ends(r["scratch_bytes_per_parameter"] for r in _updates(rows, form=f)) for f in ("native", "optax")
    )
    return f"{native[1]:.1f} bytes per parameter, the step itself; Adam's is {adam[1]:.1g}"


def _training_step(rows: list[Row]) -> str:
    """small_fc's whole step at the paper's setting, over AdamW's."""
    own = [row for row in rows if row["benchmark"] == "training_step" and row["batch_size"] == 4096]
    return f"{next(row['ratio_to_adam'] for row in own if row['architecture'] == 'small_fc_mup'):.2f}"


def _tpu_tiles(rows: list[Row]) -> str:
    """Scratch by tile size, of small_fc with hidden size 32."""
    own = [row for row in rows if row["benchmark"] == "tpu_program" and row["hidden"] == 32]
    return ", ".join(f"{row['scratch_bytes_per_parameter']:.3g}" for row in own)


def _tpu_fused(rows: list[Row]) -> str:
    """Scratch and traffic of the scalar form."""
    own = [row for row in rows if row["benchmark"] == "tpu_program" and row["hidden"] != 32]
    scratch, traffic = (span(row[f"{kind}_bytes_per_parameter"] for row in own) for kind in ("scratch", "traffic"))
    return f"{scratch} bytes of scratch per parameter, {traffic} bytes of traffic"


QUOTES: dict[str, Callable[[list[Row]], str]] = {
    "native": _native,
    "to_adam": _to_adam,
    "adam_said": _adam_said,
    "originals": _originals,
    "of_roofline": _of_roofline,
    "smallest": _smallest,
    "scratch": _scratch,
    "training_step": _training_step,
    "tpu_tiles": _tpu_tiles,
    "tpu_fused": _tpu_fused,
}
