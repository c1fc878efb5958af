"""Datasets that live on the device: examples in memory, and clusters sampled without end."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from mulo.config import SyntheticDataConfig
from mulo.data.moments import histogram, moments
from mulo.errors import DataError
from mulo.types import Array, Batch

SPLITS = ("train", "test")


# Datasets are static under jit, where a field-wise hash would fail on arrays: they hash by identity.
@dataclass(frozen=True, eq=False)
class InMemory:
    """A finite dataset of uint8 images, kept as bytes and normalised batch by batch."""

    name: str
    input_shape: tuple[int, ...]
    classes: int
    arrays: Mapping[str, Batch]
    """Of 'train' and 'test': images uint8 [N, *input_shape] and labels int32 [N]."""
    mean: float
    """Of the training images, in units where white is 1."""
    std: float
    """Of the training images over all pixels together, in the same units."""
    kind: str = "images"

    def at(self, position: int) -> Mapping[str, Batch]:
        """The same arrays always."""
        del position
        return self.arrays

    def sample(self, arrays: Mapping[str, Batch], key: Array, batch_size: int) -> Batch:
        """Draws training examples, uniformly and with replacement.

        Returns inputs float32 [batch, *input_shape] and labels int32 [batch].
        """
        images, labels = arrays["train"]
        chosen = uniform_indices(key, batch_size, labels.shape[0])
        return normalised(images[chosen], self.mean, self.std), labels[chosen]

    def fixed(self, arrays: Mapping[str, Batch], split: str, count: int) -> Batch:
        """The first `count` examples of 'train' or 'test', or all of them if there are fewer."""
        images, labels = arrays[known(split)]
        return normalised(images[:count], self.mean, self.std), labels[:count]


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Gaussian clusters, one per class, with unit noise around each class mean."""

    name: str
    input_shape: tuple[int, ...]
    classes: int
    arrays: Mapping[str, Array]
    """'means': class means, float32 [classes, product of input_shape]."""
    seed: int

    @property
    def kind(self) -> str:
        """Examples of two or three dimensions may pass for images."""
        return "images" if len(self.input_shape) in (2, 3) else "features"

    def at(self, position: int) -> Mapping[str, Array]:
        """The same arrays always."""
        del position
        return self.arrays

    def sample(self, arrays: Mapping[str, Array], key: Array, batch_size: int) -> Batch:
        """Draws fresh examples, all classes equally likely.

        Returns inputs float32 [batch, *input_shape] and labels int32 [batch].
        """
        label_key, noise_key = jax.random.split(key)
        labels = jax.random.randint(label_key, (batch_size,), 0, self.classes, jnp.int32)
        centres = arrays["means"][labels]
        inputs = centres + jax.random.normal(noise_key, centres.shape, centres.dtype)
        return inputs.reshape(batch_size, *self.input_shape), labels

    def fixed(self, arrays: Mapping[str, Array], split: str, count: int) -> Batch:
        """The same `count` examples at every call, decided by the seed and by 'train' or 'test'."""
        return self.sample(arrays, _key(self.seed, known(split)), count)


def uniform_indices(key: Array, count: int, size: int) -> Array:
    """[count] int32 indices below `size`: the upper word of 32 random bits · `size` (Lemire 2019, arXiv 1805.10941).

    One draw for each, where `jax.random.randint` takes three: drawing would cost as much as a small network's step. No
    index is likelier than another by more than size/2³².
    """
    bits = jax.random.bits(key, (count,), jnp.uint32)
    high, low = bits >> 16, bits & 0xFFFF
    size_high, size_low = jnp.uint32(size >> 16), jnp.uint32(size & 0xFFFF)
    middle = high * size_low + (low * size_low >> 16)
    cross = low * size_high + (middle & 0xFFFF)
    return (high * size_high + (middle >> 16) + (cross >> 16)).astype(jnp.int32)


def normalised(images: Array, mean: float, std: float) -> Array:
    """float32 of bytes; mean and standard deviation are in units where 255 is 1."""
    return (images.astype(jnp.float32) / 255 - mean) / std


def in_memory(name: str, host: Mapping[str, np.ndarray], classes: int | None = None) -> InMemory:
    """Puts {split}_images, uint8 [N, ...], and {split}_labels, [N], of both splits on the device.

    `classes` is one more than the largest training label if None.
    """
    # jnp.array copies: an alias of a host array could be overwritten by donation.
    arrays = {s: (jnp.array(host[f"{s}_images"]), jnp.array(host[f"{s}_labels"], jnp.int32)) for s in SPLITS}
    images, labels = host["train_images"], host["train_labels"]
    return InMemory(name, images.shape[1:], classes or int(labels.max()) + 1, arrays, *moments(histogram(images)))


def synthetic(config: SyntheticDataConfig) -> Synthetic:
    """Draws class means of length `separation` in random directions.

    A feature's variance is about 1 + separation²/features, so near 1 unless features are few.
    """
    shape = tuple(config.shape)
    size = (config.classes, math.prod(shape))
    directions = jax.random.normal(_key(config.seed, "means"), size, jnp.float32)
    means = config.separation * directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    return Synthetic(config.name, shape, config.classes, {"means": means}, config.seed)


def _key(seed: int, use: str) -> Array:
    """One key per use, named so that it differs from the keys that other parts of mulo derive from an equal seed."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(f"synthetic/{use}".encode()))


def known(split: str) -> str:
    """The name of a split; raises DataError for any other."""
    if split not in SPLITS:
        raise DataError(f"split={split} is invalid; expected one of {', '.join(SPLITS)}.")
    return split
