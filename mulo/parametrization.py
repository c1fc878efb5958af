"""Standard and maximal update parametrization as one table: role and fan-in → init, forward and update multiplier.

n is the absolute fan-in; there is no base width. Sources: µLO (arXiv 2406.00153), section 4 and equation 3, with
Yang et al. 2022 (arXiv 2203.03466), tables 3 and 8, for what the paper leaves open.

| role          | µP init std        | µP forward | µP update | SP init std | SP forward | SP update |
|---------------|--------------------|------------|-----------|-------------|------------|-----------|
| input matrix  | 1/√n               | 1          | 1         | 1/√n        | 1          | 1         |
| embedding     | 1                  | 1          | 1         | 1           | 1          | 1         |
| hidden matrix | 1/√n               | 1          | 1/n       | 1/√n        | 1          | 1         |
| output matrix | 0 (paper's text: 1)| 1/n        | 1         | 1/√n        | 1          | 1         |
| bias          | 0 (authors' code: 1)| 1         | 1         | 0           | 1          | 1         |
| norm gain     | constant 1         | 1          | 1         | constant 1  | 1          | 1         |

Convolutions of k×k have n = input channels, an init std of 1/(k√n), and otherwise the row of their role.
Attention logits are q·k/d_head under µP and q·k/√d_head under SP.

`folded` moves the output's forward multiplier into its init (1/n for 1), update (1/n), weight decay and ε (n), for
models whose forward pass is not ours: Adam then computes the same functions (Yang et al., lemma J.1), and so do learned
optimizers, whose features are normalised.

CompleteP (Dey et al. 2025, arXiv 2505.01618, table 1, α = 1) is µP and, for L residual blocks: each residual
branch × 1/L, Adam's ε of hidden matrices × 1/(n·L), their weight decay × n (it then acts as on other parameters).

For ablations `mup_but_hidden` and `mup_but_output` are µP with SP's row of that one role, and `mup_but_attention` is
µP with SP's logits.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from mulo.errors import ConfigError
from mulo.types import Multiplier


class Role(StrEnum):
    """What a parameter is in its network: all that its scaling with width depends on, besides its fan-in."""

    INPUT = "input"
    EMBEDDING = "embedding"
    HIDDEN = "hidden"
    OUTPUT = "output"
    BIAS = "bias"
    NORM = "norm"


class RoleRule(NamedTuple):
    """The numbers of one parameter."""

    init_mean: float
    init_std: float
    forward: float
    """Factor on what the parameter contributes to its layer's pre-activation."""
    update: Multiplier
    """Factor c on the optimizer's update, with those on weight decay and Adam's ε."""


NAMES = ("sp", "mup", "completep", "mup_but_hidden", "mup_but_output", "mup_but_attention")
_SP_ROW = {"mup_but_hidden": Role.HIDDEN, "mup_but_output": Role.OUTPUT}


@dataclass(frozen=True)
class Parametrization:
    """SP, µP, CompleteP or µP but for one part, with the choices that the sources leave open.

    Attributes:
        name: one of `NAMES`.
        bias_init: `zeros`, or `normal` for N(0, 1) biases under µP as in the µLO authors' code.
        output_init: `zeros`, or `normal` for an N(0, 1) output matrix under µP as in the paper's text.
        embedding_std: standard deviation of embeddings.
        blocks: residual blocks L of the network, which CompleteP scales with.
        folded: the output's forward multiplier is folded into its init and update.
    """

    name: str
    bias_init: str = "zeros"
    output_init: str = "zeros"
    embedding_std: float = 1.0
    blocks: int = 1
    folded: bool = False

    def __post_init__(self) -> None:
        """Refuses an unknown name, which would otherwise be treated as µP."""
        if self.name not in NAMES:
            raise ConfigError.value("parametrization", self.name, "one of " + ", ".join(NAMES))

    @property
    def branch(self) -> float:
        """Factor on what every residual block adds."""
        return 1 / self.blocks if self.name == "completep" else 1.0

    def logit_scale(self, head_size: int) -> float:
        """Factor on q·k in attention."""
        return 1 / math.sqrt(head_size) if self.name in ("sp", "mup_but_attention") else 1 / head_size

    def rule(self, role: Role, fan_in: int, kernel_area: int = 1) -> RoleRule:
        """The row of the table for a parameter of this role.

        Args:
            role: what the parameter is.
            fan_in: n, ignored where the row has no n; of convolutions the input channels.
            kernel_area: k·k of a convolution, 1 for matrices.
        """
        row = (self._sp if self.name == "sp" or _SP_ROW.get(self.name) == role else self._mup)(role, fan_in)
        update = replace(row.update, role=role.value, fan_in=fan_in)
        return row._replace(init_std=row.init_std / math.sqrt(kernel_area), update=update)

    def _sp(self, role: Role, fan_in: int) -> RoleRule:
        match role:
            case Role.NORM:
                return RoleRule(1.0, 0.0, 1.0, Multiplier(1))
            case Role.BIAS:
                return RoleRule(0.0, 0.0, 1.0, Multiplier(1))
            case Role.EMBEDDING:
                return RoleRule(0.0, self.embedding_std, 1.0, Multiplier(1))
            case _:
                return RoleRule(0.0, 1 / math.sqrt(fan_in), 1.0, Multiplier(1))

    def _mup(self, role: Role, fan_in: int) -> RoleRule:
        match role:
            case Role.HIDDEN:
                return RoleRule(0.0, 1 / math.sqrt(fan_in), 1.0, self._hidden(fan_in))
            case Role.OUTPUT:
                std, forward = float(self.output_init == "normal"), 1 / fan_in
                # Its gradient is n times as large, and what scales its update scales its weight decay.
                folded = RoleRule(0.0, std * forward, 1.0, Multiplier(forward, weight_decay=fan_in, epsilon=fan_in))
                return folded if self.folded else RoleRule(0.0, std, forward, Multiplier(1))
            case Role.BIAS:
                return RoleRule(0.0, float(self.bias_init == "normal"), 1.0, Multiplier(1))
            case _:
                return self._sp(role, fan_in)

    def _hidden(self, fan_in: int) -> Multiplier:
        if self.name == "completep":
            return Multiplier(1 / fan_in, weight_decay=fan_in, epsilon=1 / (fan_in * self.blocks))
        return Multiplier(1 / fan_in)
