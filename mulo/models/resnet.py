"""Residual network of basic blocks (He et al. 2016, arXiv 1512.03385) with GroupNorm, which needs no running state."""

from collections.abc import Iterator

from flax import nnx

from mulo.config.tasks import ResNetConfig, Size
from mulo.errors import ConfigError
from mulo.models.attention import Layers
from mulo.models.layers import ACTIVATIONS, Convolution, Dense, Norm, ParameterFactory, layer, with_channels
from mulo.parametrization import Role
from mulo.types import Array, Layer, Shape


class BasicBlock(nnx.Module):
    """act(shortcut(x) + norm(conv(act(norm(conv(x)))))), the first convolution with a stride.

    The shortcut is the identity where shapes agree, else a 1×1 convolution with a norm.

    Args:
        config: activation and groups of the norms.
        fan_in: input channels.
        fan_out: output channels.
        stride: of the first convolution.
        make: source of parameters.
    """

    def __init__(self, config: ResNetConfig, fan_in: int, fan_out: int, stride: int, make: ParameterFactory) -> None:
        self.first = Convolution(make, fan_in, fan_out, 3, Role.HIDDEN, stride)
        self.second = Convolution(make, fan_out, fan_out, 3, Role.HIDDEN)
        self.first_norm, self.second_norm = (Norm(make, fan_out, config.groups) for _ in range(2))
        same = fan_in == fan_out and stride == 1
        self.shortcut = None if same else Convolution(make, fan_in, fan_out, 1, Role.HIDDEN, stride)
        self.shortcut_norm = None if same else Norm(make, fan_out, config.groups)
        self.branch, self.activation = make.parametrization.branch, config.activation

    def layers(self, hidden: Array, prefix: str) -> Layers:
        """[batch, height, width, fan_in] → [batch, height/stride, width/stride, fan_out]."""
        act, skipped = ACTIVATIONS[self.activation], hidden
        if self.shortcut is not None and self.shortcut_norm is not None:
            shortcut = layer(f"{prefix}/shortcut", self.shortcut, hidden)
            yield shortcut
            skipped = self.shortcut_norm(shortcut.preactivation)
        first = layer(f"{prefix}/first", self.first, hidden)
        yield first
        second = layer(f"{prefix}/second", self.second, act(self.first_norm(first.preactivation)))
        yield second
        return act(skipped + self.branch * self.second_norm(second.preactivation))


class ResNet(nnx.Module):
    """`config.stages` stages of `size.depth` basic blocks; each stage halves the image and doubles the channels.

    Args:
        config: stages, activation and groups.
        size: blocks per stage, and channels of the first one.
        shape: [height, width] or [height, width, channels] of an image.
        classes: number of logits.
        make: source of parameters.
    """

    def __init__(self, config: ResNetConfig, size: Size, shape: Shape, classes: int, make: ParameterFactory) -> None:
        if size.width % config.groups:
            raise ConfigError.value("task.groups", config.groups, f"a divisor of the width {size.width}")
        self.input = Convolution(make, (*shape, 1)[2], size.width, 3, Role.INPUT)
        self.norm = Norm(make, size.width, config.groups)
        names, channels = [], size.width
        for stage in range(config.stages):
            for index in range(size.depth):
                halves = stage > 0 and index == 0
                names.append(f"stage_{stage + 1}_block_{index + 1}")
                fan_out = 2 * channels if halves else channels
                setattr(self, names[-1], BasicBlock(config, channels, fan_out, 2 if halves else 1, make))
                channels = fan_out
        self.names = tuple(names)
        self.output = Dense(make, channels, classes, Role.OUTPUT)
        self.activation = config.activation

    def layers(self, inputs: Array) -> Iterator[Layer]:
        """Runs the network on [batch, *input_shape]; logits are [batch, classes]."""
        first = layer("input", self.input, with_channels(inputs))
        yield first
        hidden = ACTIVATIONS[self.activation](self.norm(first.preactivation))
        for name in self.names:
            hidden = yield from getattr(self, name).layers(hidden, name)
        yield layer("output", self.output, hidden.mean((1, 2)))
