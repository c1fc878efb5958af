"""Multi-layer perceptron, the optimizee of most of the paper's experiments."""

from collections.abc import Iterator
from math import prod

from flax import nnx

from mulo.config import TaskConfig
from mulo.models.layers import ACTIVATIONS, Dense
from mulo.parametrization import Parametrization, Role
from mulo.types import Array, Layer


class MLP(nnx.Module):
    """MLP of `config.depth` hidden layers of one width: `input`, `hidden_1` … `hidden_<depth−1>`, `output`.

    Args:
        config: depth, activation and initialization choices.
        width: size of every hidden layer.
        input_shape: shape of one example, flattened on entry.
        classes: number of logits.
        scheme: parametrization of all its parameters.
        rngs: source of the parameters' randomness.
    """

    def __init__(
        self,
        config: TaskConfig,
        width: int,
        input_shape: tuple[int, ...],
        classes: int,
        scheme: Parametrization,
        rngs: nnx.Rngs,
    ) -> None:
        def dense(fan_in: int, fan_out: int, role: Role) -> Dense:
            scale_bias = config.scale_output_bias and role is Role.OUTPUT
            return Dense(
                fan_in,
                fan_out,
                role,
                scheme,
                distribution=config.weight_init,
                scale_bias=scale_bias,
                rngs=rngs,
            )

        self.names = ("input", *(f"hidden_{i}" for i in range(1, config.depth)), "output")
        self.input = dense(prod(input_shape), width, Role.INPUT)
        for name in self.names[1:-1]:
            setattr(self, name, dense(width, width, Role.HIDDEN))
        self.output = dense(width, classes, Role.OUTPUT)
        self.activation = config.activation

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network on [batch, *input_shape] and yields each layer's input and pre-activation in turn."""
        hidden = inputs.reshape(inputs.shape[0], -1)
        for name in self.names:
            dense = getattr(self, name)
            preactivation = dense(hidden)
            yield Layer(name, hidden, preactivation, dense.linear)
            hidden = ACTIVATIONS[self.activation](preactivation)

    def __call__(self, inputs: Array) -> Array:
        """[batch, *input_shape] → logits [batch, classes]."""
        *_, last = self.layers(inputs)
        return last.preactivation
