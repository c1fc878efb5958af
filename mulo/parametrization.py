"""Standard and maximal update parametrization as one table: role and fan-in → init, forward and update multiplier.

n is the absolute fan-in; there is no base width. Source: µLO (arXiv 2406.00153), section 4 and equation 3, with
Yang et al. 2022 (arXiv 2203.03466), table 3, for what the paper leaves open.

| role          | µP init std        | µP forward | µP update | SP init std | SP forward | SP update |
|---------------|--------------------|------------|-----------|-------------|------------|-----------|
| input matrix  | 1/√n               | 1          | 1         | 1/√n        | 1          | 1         |
| embedding     | 1                  | 1          | 1         | 1           | 1          | 1         |
| hidden matrix | 1/√n               | 1          | 1/n       | 1/√n        | 1          | 1         |
| output matrix | 0 (paper's text: 1)| 1/n        | 1         | 1/√n        | 1          | 1         |
| bias          | 0 (authors' code: 1)| 1         | 1         | 0           | 1          | 1         |
| norm gain     | constant 1         | 1          | 1         | constant 1  | 1          | 1         |
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mulo.errors import ConfigError


class Role(StrEnum):
    """What a parameter is in its network: all that its scaling with width depends on, besides its fan-in."""

    INPUT = "input"
    EMBEDDING = "embedding"
    HIDDEN = "hidden"
    OUTPUT = "output"
    BIAS = "bias"
    NORM = "norm"


class Rule(NamedTuple):
    """The numbers of one parameter."""

    init_mean: float
    init_std: float
    forward: float
    """Factor on what the parameter contributes to its layer's pre-activation."""
    update: float
    """Factor c on the optimizer's update."""


@dataclass(frozen=True)
class Parametrization:
    """SP or µP with the choices that the sources leave open.

    Attributes:
        name: `sp` or `mup`.
        bias_init: `zeros`, or `normal` for N(0, 1) biases under µP as in the µLO authors' code.
        output_init: `zeros`, or `normal` for an N(0, 1) output matrix under µP as in the paper's text.
    """

    name: str
    bias_init: str = "zeros"
    output_init: str = "zeros"

    def __post_init__(self) -> None:
        """Refuses a name it does not know: it must not mean SP by silence."""
        if self.name not in ("sp", "mup"):
            raise ConfigError.value("parametrization", self.name, "one of sp, mup")

    def rule(self, role: Role, fan_in: int) -> Rule:
        """The row of the table for a parameter of this role; `fan_in` is ignored where the row has no n."""
        return self._mup(role, fan_in) if self.name == "mup" else self._sp(role, fan_in)

    def _sp(self, role: Role, fan_in: int) -> Rule:
        match role:
            case Role.NORM:
                return Rule(1.0, 0.0, 1.0, 1.0)
            case Role.BIAS:
                return Rule(0.0, 0.0, 1.0, 1.0)
            case Role.EMBEDDING:
                return Rule(0.0, 1.0, 1.0, 1.0)
            case _:
                return Rule(0.0, 1 / math.sqrt(fan_in), 1.0, 1.0)

    def _mup(self, role: Role, fan_in: int) -> Rule:
        match role:
            case Role.HIDDEN:
                return Rule(0.0, 1 / math.sqrt(fan_in), 1.0, 1 / fan_in)
            case Role.OUTPUT:
                return Rule(0.0, float(self.output_init == "normal"), 1 / fan_in, 1.0)
            case Role.BIAS:
                return Rule(0.0, float(self.bias_init == "normal"), 1.0, 1.0)
            case _:
                return self._sp(role, fan_in)
