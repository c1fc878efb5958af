"""Which dimensions of a matrix or kernel are summed over: all readings that module, name, growth and bias allow.

A layout is one letter per dimension, as in `parameters`. Without a module the convention is Flax's: matrices are
[in, out], convolutions [*window, in, out]. Names that other conventions use as well are read in all of them.
"""

import math
import re

from mulo.parametrization import Role
from mulo.roles.case import Case

_WORDS = {"i": "in", "o": "out", "w": "window", "s": "stack"}
_OUTPUT_NAMES = re.compile(
    r"(^|_)((un|de|out|output)_?embed|embed(ding)?s?_?out|(lm_?head|head|logits|decoder|readout|classifier)($|_|\d))",
    re.IGNORECASE,
)
_STOCK_CONVOLUTION = re.compile(r"(Conv|conv[123]_d)(_\d+)?")
"""What Flax and Haiku call a convolution that has no name of its own; it is never a transposed one."""

_STOCK_EINSUM = re.compile(r"Einsum(_\d+)?")


def layouts(case: Case) -> list[str]:
    """All possible layouts, the conventional one first; empty for vectors."""
    if case.axes:
        return [case.axes]
    allowed, others = (_possible(case, readings) for readings in (_by_name(case), _by_no_convention(len(case.grows))))
    return _fitting_bias(case, allowed) or _fitting_bias(case, others) or allowed


def _possible(case: Case, readings: list[str]) -> list[str]:
    """Those in which neither a window nor a stack grows."""
    return [axes for axes in readings if not _grow(case, axes) & set("ws")]


def is_settled(case: Case, readings: list[str]) -> bool:
    """Whether all these layouts come to the same role, fan-in and window."""
    return len({(role_of(case, axes), size_of(case, axes, "i"), size_of(case, axes, "w")) for axes in readings}) == 1


def role_of(case: Case, axes: str) -> Role | None:
    """What grows decides: None where nothing does, or a convolution's window or a stack of layers."""
    return {"io": Role.HIDDEN, "o": Role.INPUT, "i": Role.OUTPUT}.get("".join(sorted(_grow(case, axes))))


def size_of(case: Case, axes: str, letter: str) -> int:
    """Product of the dimensions of one kind, in the model: `i` is fan-in, `w` the size of the window."""
    return math.prod(size for axis, size in zip(axes, case.parameter.shape, strict=True) if axis == letter)


def named_output(case: Case) -> bool:
    """Whether its name says that it computes outputs, such as `unembed`, `unembed/embedding` or `lm_head`."""
    return bool(_OUTPUT_NAMES.search(case.parent if case.leaf == "embedding" else case.leaf))


def question(case: Case, readings: list[str]) -> str:
    """Asks which layout it is, with what to type for each."""
    texts = [f"as {_written(axes)} it is {role_of(case, axes)}: {_typed(case, axes, readings)}" for axes in readings]
    if len(case.grows) == 2 and not case.grows[0]:
        texts.append(f"as [vocabulary, width] it is embedding: roles={{'{case.path}': 'embedding'}}")
    return (
        f"the shapes do not say which dimensions are summed over. Give what is right of: {'; '.join(texts)}; "
        f"otherwise roles={{'{case.path}': …}} and fan_in=. Flax's modules state it: give those of NNX "
        "instead of their arrays, those of Linen with inputs=."
    )


def _by_name(case: Case) -> list[str]:
    rank = len(case.grows)
    window, stack = "w" * (rank - 2), "s" * (rank - 2)
    if rank < 2:
        return []
    if "weight" in case.leaf:  # PyTorch and Equinox: [out, in, *window], and [in, out, *window] if transposed
        return list(dict.fromkeys([stack + "io", stack + "oi", window + "io", "oi" + window, "io" + window]))
    if rank == 2:
        is_odd = (named_output(case) and not case.grows[0]) or _STOCK_EINSUM.fullmatch(case.parent)
        return ["io", "oi"] if is_odd else ["io"]
    transposed = [window + "oi"] if _may_be_transposed(case) else []
    if (rank in (3, 4) and not any(case.grows[:-1])) or (rank == 4 and not any(case.grows[:2])):
        return [window + "io", *transposed]
    return [*_by_no_convention(rank), window + "io", *transposed]


def _may_be_transposed(case: Case) -> bool:
    """Transposed convolutions of Linen (`transpose_kernel`) and Haiku keep [*window, out, in] under the same name."""
    is_named = case.leaf in ("kernel", "w")
    return is_named and not case.seen and not _STOCK_CONVOLUTION.fullmatch(case.parent)


def _by_no_convention(rank: int) -> list[str]:
    """A stack, then fan-in, then fan-out, such as [in, heads, head size]; then [out, in, *window]."""
    ends = [(start, end) for start in range(rank) for end in range(start + 1, rank)]
    splits = ["s" * start + "i" * (end - start) + "o" * (rank - end) for start, end in ends]
    return [*splits, "oi" + "w" * (rank - 2)] if rank > 1 else []


def _grow(case: Case, axes: str) -> set[str]:
    return {axis for axis, grows in zip(axes, case.grows, strict=True) if grows}


def _fitting_bias(case: Case, readings: list[str]) -> list[str]:
    """A bias has the shape of what is not summed over, at both widths; some libraries add dimensions of size 1."""
    shapes = (case.parameter.shape, case.other.shape)
    biases = case.biases and [[size for size in bias if size > 1] for bias in case.biases]
    return [axes for axes in readings if biases == [_not_summed(axes, shape) for shape in shapes]]


def _not_summed(axes: str, shape: tuple[int, ...]) -> list[int]:
    return [size for axis, size in zip(axes, shape, strict=True) if axis in "so" and size > 1]


def _written(axes: str) -> str:
    return f"[{', '.join(_WORDS[axis] for axis in axes)}]"


def _typed(case: Case, axes: str, readings: list[str]) -> str:
    """The arguments that single it out."""
    role, fan_in, window = role_of(case, axes), size_of(case, axes, "i"), size_of(case, axes, "w")
    alike = [reading for reading in readings if size_of(case, reading, "i") == fan_in]
    typed = [f"fan_in={{'{case.path}': {fan_in}}}"]
    if {role_of(case, reading) for reading in alike} != {role}:
        typed.insert(0, f"roles={{'{case.path}': '{role}'}}")
    if window > 1 and any(size_of(case, reading, "w") != window for reading in alike):
        typed.append(f"window={{'{case.path}': {window}}}")
    return ", ".join(typed)
