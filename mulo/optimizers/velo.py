"""VeLO: settings, names and costs; `velo_rule` holds the update."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mulo.config.settings import setting
from mulo.cost import Cost
from mulo.optimizers.base import Look, Shape
from mulo.optimizers.per_parameter import PerParameterMLP

if TYPE_CHECKING:
    from mulo.types import Theta


@dataclass(frozen=True)
class VeLO(PerParameterMLP):
    """VeLO: a per-tensor LSTM mixes copies of a per-parameter MLP (Metz et al. 2022, arXiv 2211.09760)."""

    looks: ClassVar[Mapping[str, Look]] = {
        "velo_mup": Look("µVeLO", "#0072B2", "o", "mup"),
        "velo_sp": Look("VeLO (SP)", "#56B4E9", "^", "sp"),
        "muvelo": Look("µVeLO", "#0072B2", "o", "mup"),
        "velo": Look("VeLO (SP)", "#56B4E9", "^", "sp"),
    }
    full_features: ClassVar[int] = 18

    name: str = "velo_mup"
    architecture: str = setting("velo", choices=("velo",))
    hidden_size: int = setting(4, low=1, high=1024)
    lstm_hidden_size: int = setting(16, low=1, high=4096)
    param_inits: int = setting(8, low=1, high=4096)
    """How many copies of the per-parameter MLP the LSTM mixes."""
    interp_mult: float = setting(1.0, above=0)
    """Factor on the mixed weights: 100 in SP, 1 in µP."""
    param_scale_mult: bool = False
    """Scales each tensor's step by the RMS of its parameters: on in SP; off in µP, where it stops zero tensors."""
    exp_mult: float = setting(0.001, low=0)
    normalize_step: bool = False
    """Gives the direction of every tensor RMS 1, before the LSTM's step size and λ1."""

    def moments(self) -> Mapping[type, tuple[str, ...]]:
        """Those of every per-parameter MLP; the LSTM's state is none."""
        from mulo.optimizers.tensor_lstm import LSTMState

        return {**super().moments(), LSTMState: ()}

    def cost(self, shapes: Sequence[Shape]) -> Cost:
        """Of all entries; per tensor of the LSTM: its layers, and the mixing of the MLP's copies; weights are read."""
        from mulo.optimizers import tensor_lstm, velo_rule

        hidden, size = self.lstm_hidden_size, self.hidden_size
        network = 2 * tensor_lstm.INPUTS * hidden + 8 * hidden**2 + hidden * (self.param_inits + 1)
        mlp = (velo_rule.FEATURES + 1) * size + (size + 1) * size + (size + 1) * velo_rule.OUTPUTS
        weights = network + self.param_inits * mlp
        return super().cost(shapes) + Cost(2 * weights, 4 * weights).times(len(shapes))

    def sizes(self, theta: "Theta") -> dict[str, int]:
        """The MLP's, the LSTM's, and how many copies there are."""
        lstm = theta["lstm"].initial.hidden.shape[-1]
        return super().sizes(theta) | {"lstm_hidden_size": lstm, "param_inits": theta["mlp"].w0.shape[0]}
