"""Celo2: settings, names and costs; `celo2_rule` holds the update."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mulo.config.settings import setting
from mulo.cost import Cost
from mulo.optimizers.base import ADAM, Look, Shape, entries
from mulo.optimizers.per_parameter import PerParameterMLP

if TYPE_CHECKING:
    from mulo.types import Multiplier


@dataclass(frozen=True)
class Celo2(PerParameterMLP):
    """Celo2: an MLP's direction of RMS 1; AdamW for rank < 2 (Moudgil et al. 2026, arXiv 2602.19142)."""

    looks: ClassVar[Mapping[str, Look]] = {
        "celo2_mup": Look("µCelo2", "#7B4FA3", "p", "mup"),
        "celo2_sp": Look("Celo2 (SP)", "#CC79A7", "h", "sp"),
        "mucelo2": Look("µCelo2", "#7B4FA3", "p", "mup"),
        "celo2": Look("Celo2 (SP)", "#CC79A7", "h", "sp"),
        "mucelo2_orthogonal": Look("µCelo2 orthogonal", "#4B2E83", "P", "mup"),
    }
    tunable: ClassVar[tuple[str, ...]] = ("step_mult", "vector_mult")
    full_features: ClassVar[int] = 18

    name: str = "celo2_mup"
    architecture: str = setting("celo2", choices=("celo2",))
    hidden_size: int = setting(8, low=1, high=1024)
    orthogonalize: bool = False
    """Newton–Schulz on every matrix's direction; its µP multiplier is then 1/√fan_in instead of 1/fan_in."""
    orthogonalize_only_hidden: bool = False
    """Leaves out input, embedding and output matrices, as Muon does."""
    step_mult: float = setting(0.001, low=0)
    """λ1, the learning rate."""
    vector_mult: float = setting(20.0, low=0)
    """Learning rate of AdamW on tensors of rank < 2, in units of `step_mult`."""
    time_features: str = setting("none", choices=("none", "relative"))
    """`relative`: nine inputs more, VeLO's of the fraction of the training that is done."""

    def orthogonalizes(self, multiplier: "Multiplier") -> bool:
        """Whether the direction of this matrix is orthogonalised; one of an unknown role is."""
        is_hidden = multiplier.role in (None, "hidden")
        return self.orthogonalize and (is_hidden or not self.orthogonalize_only_hidden)

    def power(self, multiplier: "Multiplier", rank: int) -> float:
        """An orthogonalised update of RMS 1 has a spectral norm of about √n where an elementwise one, aligned with its
        inputs, has n: it takes the square root."""
        return 0.5 if self.orthogonalizes(multiplier) and rank >= 2 else 1.0

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """Those of the MLP, and Adam's of vectors."""
        import optax

        return {**super().moments(), optax.ScaleByAdamState: ("mu", "nu")}

    def cost(self, shapes: Sequence[Shape]) -> Cost:
        """Tensors of rank < 2 are moved by AdamW; the others may be orthogonalised."""
        matrices = [shape for shape in shapes if len(shape) >= 2]
        vectors = [shape for shape in shapes if len(shape) < 2]
        total = super().cost(matrices) + ADAM.times(entries(vectors))
        return sum((newton_schulz(shape) for shape in matrices if self.orthogonalize), total)

    def scratch(self, sizes: Sequence[int], cpu: bool, native: bool) -> float:
        """Newton–Schulz: the matrix, its product and the sum at the largest tensor, and its square at most as large."""
        return super().scratch(sizes, cpu, native) + (16 * max(sizes) if self.orthogonalize else 0)


NEWTON_SCHULZ_STEPS = 5


def newton_schulz(shape: Shape) -> Cost:
    """Per iteration X·Xᵀ, its square, and their sum times X, on matrices lying on their long side."""
    short, long = sorted(shape[-2:])
    flops = 2 * (2 * short**2 * long + short**3)
    moved = 4 * (5 * short * long + 5 * short**2)
    return Cost(flops, moved).times(NEWTON_SCHULZ_STEPS * math.prod(shape[:-2]))
