"""Multi-layer perceptron, the optimizee of most of the paper's experiments."""

from collections.abc import Iterator
from math import prod

from flax import nnx

from mulo.config.tasks import MLPConfig, Size
from mulo.models.layers import ACTIVATIONS, Dense, ParameterFactory, layer
from mulo.parametrization import Role
from mulo.types import Array, Layer, Shape


class MLP(nnx.Module):
    """MLP of some hidden layers of one width: `input`, `hidden_1` … `hidden_<depth−1>`, `output`.

    Args:
        config: activation.
        size: number of hidden layers, and their width.
        shape: of one example, flattened on entry.
        classes: number of logits.
        make: source of parameters.
    """

    def __init__(self, config: MLPConfig, size: Size, shape: Shape, classes: int, make: ParameterFactory) -> None:
        self.names = ("input", *(f"hidden_{i}" for i in range(1, size.depth)), "output")
        self.input = Dense(make, prod(shape), size.width, Role.INPUT)
        for name in self.names[1:-1]:
            setattr(self, name, Dense(make, size.width, size.width, Role.HIDDEN))
        self.output = Dense(make, size.width, classes, Role.OUTPUT)
        self.activation = config.activation

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network on [batch, *input_shape]; logits are [batch, classes]."""
        hidden = inputs.reshape(inputs.shape[0], -1)
        for name in self.names:
            computed = layer(name, getattr(self, name), hidden)
            yield computed
            hidden = ACTIVATIONS[self.activation](computed.preactivation)
