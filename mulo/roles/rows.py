"""One row of the table: what a parameter is, its init and the multiplier of its updates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mulo.parametrization import Parametrization, Role, RoleRule
from mulo.roles.case import Case
from mulo.roles.inference import FIXED, STARTS, Inferred, kept
from mulo.types import Multiplier


class Row(NamedTuple):
    """One parameter."""

    path: str
    """As `trees.names` writes it, without the `params` of Linen variables."""
    role: str
    shape: tuple[int, ...]
    other_shape: tuple[int, ...]
    """In the model of the other width."""
    fan_in: int | None
    """Of matrices and convolutions, of these the input channels."""
    window: int
    """k·k of a convolution, 1 otherwise."""
    rule: RoleRule | None
    """Its numbers; None for what is fixed."""
    axes: str | None
    """Of matrices and convolutions: one letter per dimension, as in `Multiplier`."""
    kept: bool | None
    """Whether `initialize` leaves it as it is; None: a vector whose values were not at hand, so it looks at them."""

    @classmethod
    def of(cls, case: Case, inferred: Inferred, parametrization: Parametrization) -> "Row":
        """Looks up the numbers of a role."""
        role, fan_in, window, axes = inferred
        rule = None if role == FIXED else parametrization.rule(Role(role), fan_in or 1, window)
        shapes = case.parameter.shape, case.other.shape
        return cls(case.path, str(role), *shapes, fan_in, window, rule, axes, kept(case, role))

    @property
    def start(self) -> float | None:
        """What all its entries are at first if its kind starts at a constant."""
        return STARTS.get(self.role)

    @property
    def multiplier(self) -> Multiplier:
        """Factor on its updates, with the shape that it is for."""
        factors = self.rule.update if self.rule else Multiplier(1)
        return replace(factors, role=self.role, fan_in=self.fan_in, axes=self.axes, shape=self.shape)


def kept_sentence(rows: Sequence[Row]) -> str:
    """Of vectors that `initialize` leaves as they are although their kind starts at something else."""
    vectors = ", ".join(f"{row.path} (a {row.role}, whose kind starts at {row.start:g})" for row in rows)
    return (
        f"initialize keeps {vectors}: its values are the model's own. To set it all the same, give "
        f"roles={{'{rows[0].path}': '{rows[0].role}'}}; 'fixed' keeps it without this warning."
    )
