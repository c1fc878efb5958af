"""What an optimizer's update costs: least arithmetic and memory traffic, by architecture and sizes.

Of a learned optimizer's features most vary by row, column or time alone and enter its MLP once per row, column or
tensor (`docs/architecture.md`); what remains per entry of a tensor is counted here. Features themselves, tens of
operations per entry, are not: hidden layers are hundreds or thousands.
"""

import math
from collections.abc import Sequence

from mulo.config import AdamConfig, Celo2Config, LearnedOptimizerConfig, OptimizerConfig, VeLOConfig
from mulo.optimizers import celo2, tensor_lstm, velo
from mulo.planning.programs import Cost

FULL_FEATURES = {"small_fc": 16, "velo": 18, "celo2": 18}
"""Features that vary along both dimensions of a matrix: what must be multiplied for every entry."""
LEARNED_BYTES = 4 * (1 + 6 + 4 + 6 + 1)
"""Per parameter: the gradient is read for row and column sums; then gradient, parameter and moments are read and the
moments written; then all are read again and the step is written."""
ADAM = Cost(14, 4 * (4 + 3))
"""Per parameter: gradient, parameter and two moments are read, step and moments written."""

Shape = tuple[int, ...]


def per_entry(config: LearnedOptimizerConfig) -> Cost:
    """Of one parameter under a learned optimizer's MLP."""
    hidden = config.hidden_size
    flops = 2 * (FULL_FEATURES[config.architecture] * hidden + hidden**2 + 2 * hidden)
    return Cost(flops, LEARNED_BYTES)


def update(config: OptimizerConfig, shapes: Sequence[Shape]) -> Cost:
    """Of one step on tensors of these shapes."""
    if isinstance(config, AdamConfig):
        return ADAM.times(_entries(shapes))
    if isinstance(config, Celo2Config):
        return _celo2(config, shapes)
    own = per_entry(config).times(_entries(shapes))
    return own + _lstm(config).times(len(shapes)) if isinstance(config, VeLOConfig) else own


def _entries(shapes: Sequence[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _celo2(config: Celo2Config, shapes: Sequence[Shape]) -> Cost:
    """Tensors of rank < 2 are moved by AdamW; the others may be orthogonalised."""
    matrices = [shape for shape in shapes if len(shape) >= 2]
    vectors = [shape for shape in shapes if len(shape) < 2]
    total = per_entry(config).times(_entries(matrices)) + ADAM.times(_entries(vectors))
    for shape in matrices if config.orthogonalize else ():
        total += newton_schulz(shape)
    return total


def newton_schulz(shape: Shape) -> Cost:
    """Per iteration X·Xᵀ, its square, and their sum times X, on matrices lying on their long side."""
    short, long = sorted(shape[-2:])
    flops = 2 * (2 * short**2 * long + short**3)
    moved = 4 * (5 * short * long + 5 * short**2)
    return Cost(flops, moved).times(celo2.NEWTON_SCHULZ_STEPS * math.prod(shape[:-2]))


def _lstm(config: VeLOConfig) -> Cost:
    """Per tensor: two layers in, gates, two layers out, the mixing of the MLP's copies; all weights are read."""
    hidden, size = config.lstm_hidden_size, config.hidden_size
    network = 2 * tensor_lstm.INPUTS * hidden + 8 * hidden**2 + hidden * (config.param_inits + 1)
    mlp = (velo.FEATURES + 1) * size + (size + 1) * size + (size + 1) * velo.OUTPUTS
    weights = network + config.param_inits * mlp
    return Cost(2 * weights, 4 * weights)
