"""Vision transformer: patches as tokens, mean-pooled (Dosovitskiy et al. 2021, arXiv 2010.11929; Beyer et al. 2022)."""

from collections.abc import Iterator

from mulo.config.tasks import Size, ViTConfig
from mulo.errors import ConfigError
from mulo.models.attention import BlockStack
from mulo.models.layers import Dense, Embedding, ParameterFactory, layer, with_channels
from mulo.parametrization import Role
from mulo.types import Array, Layer, Shape


class ViT(BlockStack):
    """Classifies images.

    Args:
        config: heads, activation, positions and patch size.
        size: number of blocks, and width of the residual stream.
        shape: [height, width] or [height, width, channels] of an image; patches must fit evenly.
        classes: number of logits.
        make: source of parameters.
    """

    def __init__(self, config: ViTConfig, size: Size, shape: Shape, classes: int, make: ParameterFactory) -> None:
        super().__init__(config, size, make, causal=False)
        self.patch, (rows, columns, channels) = config.patch, (*shape, 1)[:3]
        if rows % self.patch or columns % self.patch:
            allowed = f"a common divisor of the images' height {rows} and width {columns}"
            raise ConfigError.value("task.patch", config.patch, allowed)
        tokens = (rows // self.patch) * (columns // self.patch)
        self.input = Dense(make, self.patch**2 * channels, size.width, Role.INPUT)
        self.positions = Embedding(make, tokens, size.width) if config.positions == "learned" else None
        self.output = Dense(make, size.width, classes, Role.OUTPUT)

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network on [batch, *input_shape]; logits are [batch, classes]."""
        patches = layer("input", self.input, self._patches(with_channels(inputs)))
        yield patches
        hidden = yield from self.through_blocks(patches.preactivation)
        yield layer("output", self.output, hidden.mean(1))

    def _patches(self, images: Array) -> Array:
        """[batch, height, width, channels] → [batch, tokens, patch² · channels]."""
        batch, rows, columns, channels = images.shape
        size = self.patch
        cut = images.reshape(batch, rows // size, size, columns // size, size, channels)
        return cut.swapaxes(2, 3).reshape(batch, -1, size * size * channels)
