"""One parameter at two widths, with what the user states about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mulo.errors import RoleError
from mulo.roles.parameters import Parameter


@dataclass(frozen=True)
class Given:
    """What the user states about parameters, by path."""

    roles: Mapping[str, str]
    fan_in: Mapping[str, int]
    window: Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """One parameter at two widths.

    Attributes:
        path: its name.
        parameter: in the model.
        other: the same parameter in the model of the other width.
        given: what the user states.
        biases: shapes of the bias beside it, in the model and at the other width; None where there is none.
    """

    path: str
    parameter: Parameter
    other: Parameter
    given: Given
    biases: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @classmethod
    def of(cls, path: str, first: Mapping[str, Parameter], second: Mapping[str, Parameter], given: Given) -> "Case":
        """The parameter of this path in two models."""
        bias = _bias_beside(path)
        biases = (first[bias].shape, second[bias].shape) if bias != path and bias in first else None
        return cls(path, first[path], second[path], given, biases)

    @property
    def leaf(self) -> str:
        """Last part of its path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def parent(self) -> str:
        """The part before the last."""
        return ("/" + self.path).split("/")[-2]

    @property
    def axes(self) -> str | None:
        """What each of its dimensions is, where a module of either model states it."""
        return self.parameter.axes or self.other.axes

    @property
    def seen(self) -> bool:
        """Whether the module that holds it is known, in either of the two models."""
        return self.parameter.seen or self.other.seen

    @property
    def grows(self) -> tuple[bool, ...]:
        """Which dimensions differ."""
        return tuple(a != b for a, b in zip(self.parameter.shape, self.other.shape, strict=True))

    def error(self, problem: str) -> RoleError:
        """Names the parameter and its shapes."""
        return RoleError(f"{self.path}, {list(self.parameter.shape)} and {list(self.other.shape)}: {problem}")


def _bias_beside(path: str) -> str:
    """`a/kernel` has its bias in `a/bias`, `weight_ih` in `bias_ih`, `w` in `b`."""
    *parents, leaf = path.split("/")
    name = {"w": "b", "W": "b"}.get(leaf) or leaf.replace("kernel", "bias").replace("weight", "bias")
    return "/".join([*parents, name])
