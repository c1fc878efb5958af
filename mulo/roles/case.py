"""One parameter at two widths, with what the user says of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mulo.errors import RoleError
from mulo.roles.parameters import Parameter


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
        biases: shapes of the bias beside it, in the model and at the other width; None where there is none.
    """

    path: str
    own: Parameter
    other: Parameter
    given: Given
    biases: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @classmethod
    def of(cls, path: str, own: Mapping[str, Parameter], other: Mapping[str, Parameter], given: Given) -> "Case":
        """The parameter of this path in two models."""
        bias = _bias_beside(path)
        has_bias = bias != path and bias in own
        return cls(path, own[path], other[path], given, (own[bias].shape, other[bias].shape) if has_bias else None)

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
        """What a module says of its dimensions, in either of the two models."""
        return self.own.axes or self.other.axes

    @property
    def seen(self) -> bool:
        """Whether the module that holds it was at hand, in either of the two models."""
        return self.own.seen or self.other.seen

    @property
    def grows(self) -> tuple[bool, ...]:
        """Which dimensions differ."""
        return tuple(a != b for a, b in zip(self.own.shape, self.other.shape, strict=True))

    def error(self, problem: str) -> RoleError:
        """Names the parameter and its shapes."""
        return RoleError(f"{self.path}, {list(self.own.shape)} and {list(self.other.shape)}: {problem}")


def _bias_beside(path: str) -> str:
    """`a/kernel` has its bias in `a/bias`, `weight_ih` in `bias_ih`, `w` in `b`."""
    *parents, leaf = path.split("/")
    name = {"w": "b", "W": "b"}.get(leaf) or leaf.replace("kernel", "bias").replace("weight", "bias")
    return "/".join([*parents, name])
