"""Causal transformer language model, pre-LN with GELU (µLO, section 5; [GPT-2's] block, Radford et al. 2019)."""

from collections.abc import Iterator

from mulo.config.tasks import TransformerBase
from mulo.models.attention import BlockStack
from mulo.models.layers import Dense, Embedding, Maker, layer
from mulo.parametrization import Role
from mulo.types import Array, Layer


class Transformer(BlockStack):
    """Predicts every token from those before it.

    Args:
        config: depth, heads, activation and positions.
        width: of the residual stream.
        length: tokens of an example.
        vocabulary: number of different tokens.
        make: source of parameters.
    """

    def __init__(self, config: TransformerBase, width: int, length: int, vocabulary: int, make: Maker) -> None:
        super().__init__(config, config.depth, width, make, causal=True)
        self.embedding = Embedding(make, vocabulary, width)
        self.positions = Embedding(make, length, width) if config.positions == "learned" else None
        self.output = Dense(make, width, vocabulary, Role.OUTPUT)

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network on tokens [batch, length]; logits are [batch, length, vocabulary]."""
        hidden = self.embedding(inputs)
        yield Layer("embedding", inputs, hidden, self.embedding)
        hidden = yield from self.through_blocks(hidden)
        yield layer("output", self.output, hidden)
