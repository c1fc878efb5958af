"""What a parameter is in its network, inferred from its shapes at two widths: its role, fan-in and window."""

from typing import NamedTuple

from mulo.parametrization import Role
from mulo.roles.case import Case
from mulo.roles.layouts import is_settled, layouts, named_output, question, role_of, size_of

FIXED = "fixed"
"""Role of a parameter that does not grow: multiplier 1, and initialization leaves it as it is."""
ROLES = (*(role.value for role in Role), FIXED)
STARTS: dict[str, float] = {Role.BIAS: 0.0, Role.NORM: 1.0}
"""What all entries of a vector are at first, by its role."""
_MATRICES = (Role.INPUT, Role.HIDDEN, Role.OUTPUT)
_VECTORS = {"bias": Role.BIAS, "scale": Role.NORM, "gain": Role.NORM}
_CONSTANTS = {0.0: Role.BIAS, 1.0: Role.NORM}


class Inferred(NamedTuple):
    """What a parameter is."""

    role: str
    fan_in: int | None
    """Of matrices and convolutions; None where the parametrization does not ask for it."""
    window: int
    axes: str | None = None
    """Of matrices and convolutions: one letter per dimension, as in `layouts`."""


def infer(case: Case) -> Inferred:
    """Role, fan-in and window of a parameter.

    Raises:
        RoleError: the shapes leave it open, or contradict what the user states.
    """
    role = case.given.roles.get(case.path)
    if role in _MATRICES:
        return _inferred(case, role, *_sizes_of_given(case, role))
    role = role or _role_of_others(case)
    if role is not None:
        return Inferred(role, None, 1)
    axes = _axes(case)
    return _inferred(case, _role(case, axes), size_of(case, axes, "i"), size_of(case, axes, "w"), axes)


def kept(case: Case, role: str) -> bool | None:
    """Whether `initialize` leaves it as it is; None: that depends on the values that `initialize` gets.

    Kept are parameters of role `fixed`, and vectors that start at anything but what their kind starts at, unless the
    user gives their role.
    """
    if role not in STARTS or case.path in case.given.roles:
        return role == FIXED
    is_usual = case.parameter.is_everywhere(STARTS[role])
    return None if is_usual is None else not is_usual


def _inferred(case: Case, role: str, fan_in: int, window: int, axes: str | None) -> Inferred:
    return Inferred(role, fan_in, case.given.window.get(case.path, window), axes)


def _role_of_others(case: Case) -> Role | str | None:
    """The role of what is neither a matrix nor a convolution; None for matrices and convolutions."""
    if case.leaf in _VECTORS:
        return _VECTORS[case.leaf]
    if not any(case.grows):
        return FIXED
    if "embed" in case.leaf and not (named_output(case) and sum(case.grows) == 1):
        return _embedding(case)
    return _vector(case) if len(case.parameter.shape) == 1 or _broadcast(case) else None


def _broadcast(case: Case) -> bool:
    """Whether it is a bias or gain kept with dimensions of size 1, such as [1, 1, channels]."""
    return sum(size > 1 for size in case.parameter.shape) == 1 and case.parameter.constant in _CONSTANTS


def _embedding(case: Case) -> Role:
    if any(case.grows[:-1]):
        raise case.error(
            f"an embedding of which more than the last dimension grows. Give roles={{'{case.path}': 'embedding'}}, or "
            "'output' for [width, vocabulary] that computes logits, or 'hidden' with its fan_in, or keep the "
            "vocabulary the same."
        )
    return Role.EMBEDDING


def _vector(case: Case) -> Role:
    constants = {case.parameter.constant, case.other.constant} - {None}
    roles = {_CONSTANTS.get(constant) for constant in constants if constant is not None}
    role = roles.pop() if len(roles) == 1 else None
    if role is None:
        raise case.error(
            "a vector that grows, neither named `bias`, `scale` or `gain` nor constant at 0 or 1: bias or norm gain? "
            f"Give roles={{'{case.path}': 'bias'}}, which initialize sets to 0, or 'norm', which it sets to 1, or "
            "'fixed', which it leaves as it is, or models with their initial values."
        )
    return role


def _axes(case: Case) -> str:
    """Its layout, by the shapes or by the fan-in that the user gives; raises RoleError where they leave it open."""
    readings = layouts(case)
    if not readings:
        raise case.error(
            "a convolution's window or a stack of layers grows, however it is read. Models may differ in their width "
            f"alone; otherwise give roles={{'{case.path}': 'hidden'}}, 'input' or 'output', and its fan_in."
        )
    wanted = case.given.fan_in.get(case.path)
    fitting = [axes for axes in readings if wanted is None or size_of(case, axes, "i") == wanted]
    if wanted is None and not is_settled(case, fitting):
        raise case.error(question(case, readings))
    if len({role_of(case, axes) for axes in fitting}) != 1:
        raise case.error(f"fan_in={wanted} does not settle its role: {question(case, readings)}")
    return fitting[0]


def _role(case: Case, axes: str) -> Role:
    role = role_of(case, axes)
    if role is None:
        raise case.error("a convolution's window or a stack of layers grows. Models may differ in their width alone.")
    return role


def _sizes_of_given(case: Case, role: str) -> tuple[int, int, str | None]:
    """Fan-in, window and layout of a matrix whose role the user gives."""
    wanted = case.given.fan_in.get(case.path)
    transposed = ["oi"] if len(case.grows) == 2 and case.axes is None else []
    choices = [[axes for axes in group if role_of(case, axes) == role] for group in (layouts(case), transposed)]
    readings = choices[0] or choices[1] or layouts(case)
    fitting = [axes for axes in readings if wanted is None or size_of(case, axes, "i") == wanted]
    if wanted is None and not is_settled(case, fitting):
        raise case.error(f"its role needs its fan-in. Give fan_in={{'{case.path}': n}}.")
    axes = (fitting or readings)[0] if fitting or readings else ""
    return wanted or size_of(case, axes, "i"), size_of(case, axes, "w") if axes else 1, axes or None
