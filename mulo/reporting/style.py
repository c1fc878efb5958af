"""The common look of all pictures, and how they are saved.

Matplotlib is imported where it is used, because that takes about a second.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mulo.files import replacing
from mulo.reporting.labels import THETA0, looks

DPI = 160
GREY = "#666666"

_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "figure.titlesize": 11,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.hashsalt": "mulo",
}


class Line(NamedTuple):
    """Colour, marker and dashes of one method."""

    color: str
    marker: str
    linestyle: str


_OTHERS = (
    ("#999999", ">"),
    ("#637939", "*"),
    ("#A55194", "d"),
    ("#17A2B8", "H"),
    ("#BCA136", "1"),
)
_LIGHTER = 0.45


def lines(methods: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Line]:
    """The look of each (method, parametrization): µP solid, SP dashed, and fixed colours."""
    unknown = [pair for pair in methods if _known(pair[0]) is None]
    looks = {}
    for pair in methods:
        color, marker = _known(pair[0]) or _OTHERS[unknown.index(pair) % len(_OTHERS)]
        looks[pair] = Line(color, marker, "-" if pair[1] == "mup" else "--")
    return looks


def _known(name: str) -> tuple[str, str] | None:
    """Colour and marker of a preset, or of a method named after a label: `µLO_M` in full, `µLO_S` and θ0s lighter."""
    known = looks()
    if name.endswith(THETA0):
        trained = _known(name.removesuffix(THETA0))
        return trained and (lighter(trained[0]), trained[1])
    if name in known:
        return known[name].color, known[name].marker
    stem = re.split(r"[_ ]", name, maxsplit=1)[0]
    look = {preset.label.partition(" ")[0]: preset for preset in known.values()}.get(stem)
    if look is None:
        return None
    return (look.color if name in (stem, f"{stem}_M") else lighter(look.color), look.marker)


def lighter(color: str) -> str:
    """A colour #rrggbb mixed with white."""
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + _LIGHTER * (255 - part)):02X}" for part in parts)


def sequence(count: int) -> list[str]:
    """Colours #rrggbb from dark to light for things that have an order, such as layers."""
    from matplotlib import colormaps, colors

    return [colors.to_hex(colormaps["viridis"](lightness)) for lightness in np.linspace(0, 0.82, count)]


@contextmanager
def picture(stem: Path, rows: int, columns: int, size: tuple[float, float], **shared: Any) -> Iterator[Any]:
    """Yields (figure, axes [rows, columns]) of `size` inches, then saves them as `stem`.png and `stem`.svg.

    The same drawing gives the same bytes of SVG: no date, and no random identifiers.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    # Starting from the defaults, because a user's matplotlibrc must not change the pictures.
    with style.context(["default", _LOOK]):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **shared)
        save(figure, stem)


def save(figure: Any, stem: Path) -> None:
    """Writes a figure as `stem`.png and `stem`.svg."""
    for kind, options in (("png", {"dpi": DPI}), ("svg", {"metadata": {"Date": None}})):
        with replacing(Path(f"{stem}.{kind}")) as partial:
            figure.savefig(partial, format=kind, **options)


def size_axis(axes: Any, sizes: Sequence[float], name: str = "width", labelled: int = 8) -> None:
    """A log₂ axis whose ticks are exactly the sizes; of more than `labelled`, every second has a label."""
    axes.set_xscale("log", base=2)
    if sizes:
        # Not derived from the lines, of which there are none where every seed diverged.
        margin = max(sizes[-1] / sizes[0], 2.0) ** 0.07
        axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
    every = 1 if len(sizes) <= labelled else 2
    axes.set_xticks(sizes, [str(size) if i % every == 0 else "" for i, size in enumerate(sizes)])
    axes.minorticks_off()
    axes.set_xlabel(name)


def loss_axis(axes: Any, losses: Any) -> None:
    """Makes the y axis logarithmic where finite losses are positive and span more than a factor of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    shown = np.asarray(losses, float)
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > 10 * shown.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def headroom(axes: Any, share: float) -> None:
    """Raises the upper y limit by a share of the axis, leaving the lower one where it is."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, high * (high / low) ** share)
    else:
        axes.set_ylim(low, high + share * (high - low))


def cross(axes: Any, x: float, rank: int, color: str, text: str = "") -> None:
    """A cross for divergence at the top edge; `rank` counts downwards those that share one x."""
    axes.annotate(
        f"× {text}".strip(),
        (x, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-4, -11 * rank),
        textcoords="offset points",
        va="center",
        color=color,
        fontsize=9,
        fontweight="bold",
        annotation_clip=False,
    )
