"""What a parameter is in its network, told from its shapes at two widths: its role, fan-in and window.

Conventions are Flax's: matrices are [in, out], convolutions [*window, in, out].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mulo.errors import RoleError
from mulo.parametrization import Role
from mulo.roles.parameters import Parameter

FIXED = "fixed"
"""Role of a parameter that does not grow: multiplier 1, and initialization leaves it as it is."""
ROLES = (*(role.value for role in Role), FIXED)
_MATRICES = (Role.INPUT, Role.HIDDEN, Role.OUTPUT)
_VECTORS = {"bias": Role.BIAS, "scale": Role.NORM, "gain": Role.NORM}
_CONSTANTS = {0.0: Role.BIAS, 1.0: Role.NORM}


class Found(NamedTuple):
    """What a parameter is."""

    role: str
    fan_in: int | None
    """Of matrices and convolutions; None where the parametrization does not ask for it."""
    window: int


@dataclass(frozen=True)
class Given:
    """What the user says of parameters, by path."""

    roles: Mapping[str, str]
    fan_in: Mapping[str, int]
    window: Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """One parameter at two widths.

    Attributes:
        path: its name.
        own: it in the model.
        other: it in the same model at another width.
        given: what the user says.
    """

    path: str
    own: Parameter
    other: Parameter
    given: Given

    @property
    def leaf(self) -> str:
        """Last part of its path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def axes(self) -> str | None:
        """What a module says of its dimensions, in either of the two models."""
        return self.own.axes or self.other.axes

    @property
    def grows(self) -> tuple[bool, ...]:
        """Which dimensions differ."""
        return tuple(a != b for a, b in zip(self.own.shape, self.other.shape, strict=True))

    def error(self, problem: str) -> RoleError:
        """Names the parameter and its shapes."""
        return RoleError(f"{self.path}, {list(self.own.shape)} and {list(self.other.shape)}: {problem}")


def find(case: Case) -> Found:
    """Role, fan-in and window of a parameter.

    Raises:
        RoleError: the shapes leave it open, or contradict what the user says.
    """
    role = case.given.roles.get(case.path) or _role_of_others(case)
    if role is None:
        axes = _axes(case)
        return Found(_role(case, axes), _size(case, axes, "i"), _window(case, axes))
    return Found(role, *_sizes_of_given(case) if role in _MATRICES else (None, 1))


def _role_of_others(case: Case) -> str | None:
    """The role of all that is neither a matrix nor a convolution; None for those."""
    if case.leaf in _VECTORS:
        return _VECTORS[case.leaf]
    if not any(case.grows):
        return FIXED
    if "embed" in case.leaf:
        return _embedding(case)
    return _vector(case) if len(case.own.shape) == 1 or _broadcast(case) else None


def _broadcast(case: Case) -> bool:
    """Whether it is a bias or gain kept with dimensions of size 1, such as [1, 1, channels]."""
    return sum(size > 1 for size in case.own.shape) == 1 and case.own.constant in _CONSTANTS


def _embedding(case: Case) -> Role:
    if any(case.grows[:-1]):
        raise case.error(
            f"an embedding of which more than the last dimension grows. Give roles={{'{case.path}': 'embedding'}}, or "
            "'hidden' with its fan_in, or keep the vocabulary the same."
        )
    return Role.EMBEDDING


def _vector(case: Case) -> Role:
    constants = {case.own.constant, case.other.constant} - {None}
    roles = {_CONSTANTS.get(constant) for constant in constants if constant is not None}
    role = roles.pop() if len(roles) == 1 else None
    if role is None:
        raise case.error(
            "a vector that grows, neither named `bias`, `scale` or `gain` nor constant at 0 or 1: bias or norm gain? "
            f"Give roles={{'{case.path}': 'bias'}} or 'norm' or 'fixed', or models with their initial values."
        )
    return role


def _axes(case: Case) -> str:
    """One letter per dimension, as in `parameters`."""
    known = case.axes or _by_convention(case.grows)
    if case.path not in case.given.fan_in:
        if known is None:
            raise case.error("the shapes do not say which dimensions are summed over. " + _advice(case))
        return known
    wanted = case.given.fan_in[case.path]
    fitting = [axes for axes in ([known] if known else _readings(case.grows)) if _size(case, axes, "i") == wanted]
    if len({_role(case, axes) for axes in fitting}) != 1:
        raise case.error(f"fan_in={wanted} does not settle its role. " + _advice(case))
    return fitting[0]


def _by_convention(grows: tuple[bool, ...]) -> str | None:
    """Of arrays without a module: matrices, 2-D convolutions, and what else can only be an input's."""
    rank = len(grows)
    if rank == 2 or (rank in (3, 4) and not any(grows[:-1])) or (rank == 4 and not any(grows[:2])):
        return "w" * (rank - 2) + "io"
    return None


def _readings(grows: tuple[bool, ...]) -> list[str]:
    """All axes that the shapes allow: a stack or window that does not grow, then fan-in, then fan-out."""
    rank = len(grows)
    ends = [(start, end) for start in range(rank) for end in range(start + 1, rank) if not any(grows[:start])]
    return ["s" * start + "i" * (end - start) + "o" * (rank - end) for start, end in ends]


def _advice(case: Case) -> str:
    readings = [case.axes] if case.axes else _readings(case.grows)
    known = {_size(case, axes, "i"): _role(case, axes) for axes in readings}
    choices = ", ".join(f"{size} ({role})" for size, role in known.items())
    return (
        f"Give fan_in={{'{case.path}': n}}, n the inputs that one output sums over: {choices}; of a convolution its "
        f"input channels, and window={{'{case.path}': k}}. Where that is not enough, give roles={{'{case.path}': "
        "'hidden'}} too, or 'input', 'output'."
    )


def _role(case: Case, axes: str) -> Role:
    growing = {axis for axis, grows in zip(axes, case.grows, strict=True) if grows}
    if growing & set("ws"):
        raise case.error("a convolution's window or a stack of layers grows. Models may differ in their width alone.")
    return {"io": Role.HIDDEN, "o": Role.INPUT, "i": Role.OUTPUT}["".join(sorted(growing))]


def _size(case: Case, axes: str, letter: str) -> int:
    return math.prod(size for axis, size in zip(axes, case.own.shape, strict=True) if axis == letter)


def _window(case: Case, axes: str) -> int:
    return case.given.window.get(case.path, _size(case, axes, "w"))


def _sizes_of_given(case: Case) -> tuple[int, int]:
    """Fan-in and window of a matrix whose role the user gives."""
    axes = case.axes or _by_convention(case.grows)
    fan_in = case.given.fan_in.get(case.path)
    if fan_in is None and axes is None:
        raise case.error(f"its role needs its fan-in. Give fan_in={{'{case.path}': n}}.")
    return fan_in or _size(case, axes or "", "i"), _window(case, axes) if axes else case.given.window.get(case.path, 1)
