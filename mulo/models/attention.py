"""The residual block of transformers: self-attention and an MLP, each behind a LayerNorm (pre-LN)."""

from collections.abc import Generator

import jax
import jax.numpy as jnp
from flax import nnx

from mulo.config.tasks import AttentionConfig, Size
from mulo.errors import ConfigError
from mulo.models.layers import ACTIVATIONS, Dense, Embedding, Norm, ParameterFactory, layer
from mulo.parametrization import Role
from mulo.types import Array, Layer

Layers = Generator[Layer, None, Array]
"""Yields layers and returns the block's output."""


def head_size(config: AttentionConfig, width: int) -> int:
    """Entries of one head's queries; raises ConfigError where heads do not share the width evenly."""
    if config.head_size is None and width % config.heads:
        raise ConfigError.value("task.heads", config.heads, f"a divisor of the width {width}", "Or set task.head_size.")
    return config.head_size or width // config.heads


class SelfAttention(nnx.Module):
    """Multi-head self-attention whose logits q·k have the parametrization's scale; all its matrices are 2-D.

    Args:
        config: heads and their size, independent of the width where both are given.
        width: of inputs and outputs.
        make: source of parameters.
        causal: whether a position sees only itself and those before it.
    """

    def __init__(self, config: AttentionConfig, width: int, make: ParameterFactory, causal: bool) -> None:
        self.size, self.heads, self.causal = head_size(config, width), config.heads, causal
        inner = self.heads * self.size
        self.query = Dense(make, width, inner, Role.HIDDEN, gain=float(config.query_init == "normal"))
        self.key, self.value = (Dense(make, width, inner, Role.HIDDEN) for _ in range(2))
        self.out = Dense(make, inner, width, Role.HIDDEN)
        self.scale = make.parametrization.logit_scale(self.size)

    def layers(self, hidden: Array, prefix: str) -> Layers:
        """[batch, length, width] → the same shape; logits are [batch, heads, length, length], unmasked."""
        projections = [layer(f"{prefix}/{name}", getattr(self, name), hidden) for name in ("query", "key", "value")]
        yield from projections
        query, key, value = (self._split(projection.preactivation) for projection in projections)
        logits = self.scale * jnp.einsum("bthd,bshd->bhts", query, key)
        yield Layer(f"{prefix}/logits", hidden, logits, None)
        mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(self._masked(logits)), value)
        out = layer(f"{prefix}/out", self.out, mixed.reshape(*mixed.shape[:2], -1))
        yield out
        return out.preactivation

    def _split(self, projected: Array) -> Array:
        return projected.reshape(*projected.shape[:2], self.heads, self.size)

    def _masked(self, logits: Array) -> Array:
        if not self.causal:
            return logits
        length = logits.shape[-1]
        return jnp.where(jnp.tri(length, dtype=bool), logits, -jnp.inf)


class Block(nnx.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)) with 4·width hidden units; both under CompleteP's branch factor.

    Args:
        config: heads and activation.
        width: of inputs and outputs.
        make: source of parameters.
        causal: as in `SelfAttention`.
    """

    def __init__(self, config: AttentionConfig, width: int, make: ParameterFactory, causal: bool) -> None:
        self.attention_norm, self.mlp_norm = Norm(make, width), Norm(make, width)
        self.attention = SelfAttention(config, width, make, causal)
        self.up = Dense(make, width, 4 * width, Role.HIDDEN)
        self.down = Dense(make, 4 * width, width, Role.HIDDEN)
        self.branch, self.activation = make.parametrization.branch, config.activation

    def layers(self, hidden: Array, prefix: str) -> Layers:
        """[batch, length, width] → the same shape."""
        attended = yield from self.attention.layers(self.attention_norm(hidden), prefix)
        hidden = hidden + self.branch * attended
        up = layer(f"{prefix}/up", self.up, self.mlp_norm(hidden))
        yield up
        down = layer(f"{prefix}/down", self.down, ACTIVATIONS[self.activation](up.preactivation))
        yield down
        return hidden + self.branch * down.preactivation


class BlockStack(nnx.Module):
    """A network of `size.depth` blocks `block_1` …, one after the other, and a LayerNorm after the last."""

    positions: Embedding | None

    def __init__(self, config: AttentionConfig, size: Size, make: ParameterFactory, causal: bool) -> None:
        self.names = tuple(f"block_{i}" for i in range(1, size.depth + 1))
        for name in self.names:
            setattr(self, name, Block(config, size.width, make, causal))
        self.norm = Norm(make, size.width)

    def through_blocks(self, hidden: Array) -> Layers:
        """[batch, length, width] → the same shape; learned positions are added first."""
        if self.positions is not None:
            indices = jnp.arange(hidden.shape[1], dtype=jnp.int32)
            offsets = self.positions(indices)
            yield Layer("positions", indices, offsets, self.positions)
            hidden = hidden + offsets[None]
        for name in self.names:
            hidden = yield from getattr(self, name).layers(hidden, name)
        return self.norm(hidden)
