"""Causal transformer language model, pre-LN with GELU (µLO, section 5; [GPT-2's] block, Radford et al. 2019)."""

from collections.abc import Iterator

from mulo.config.tasks import AttentionConfig, Size
from mulo.models.attention import BlockStack
from mulo.models.layers import Dense, Embedding, ParameterFactory, layer
from mulo.parametrization import Role
from mulo.types import Array, Layer, Shape


class Transformer(BlockStack):
    """Predicts every token from those before it.

    Args:
        config: heads, activation and positions.
        size: number of blocks, and width of the residual stream.
        shape: [length] of an example.
        classes: number of different tokens.
        make: source of parameters.
    """

    def __init__(self, config: AttentionConfig, size: Size, shape: Shape, classes: int, make: ParameterFactory) -> None:
        super().__init__(config, size, make, causal=True)
        self.embedding = Embedding(make, classes, size.width)
        self.positions = Embedding(make, shape[0], size.width) if config.positions == "learned" else None
        self.output = Dense(make, size.width, classes, Role.OUTPUT)

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network on tokens [batch, length]; logits are [batch, length, classes]."""
        hidden = self.embedding(inputs)
        yield Layer("embedding", inputs, hidden, self.embedding)
        hidden = yield from self.through_blocks(hidden)
        yield layer("output", self.output, hidden)
