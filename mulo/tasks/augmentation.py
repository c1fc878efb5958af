"""Task augmentation by reparametrized weights, so that θ does not rely on one scale of parameters and gradients.

Source: Celo (Moudgil et al. 2025, arXiv 2501.12670) after VeLO (Metz et al. 2022, arXiv 2211.09760): the optimizer sees
φ = w/a and its gradient a·∂L/∂w, with factors a drawn anew for every training, log-uniform between 1/largest and
largest. The network computes with w = a·φ: at initialization it is the same as without.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from mulo import randomness
from mulo.config import Augmentation
from mulo.types import Array, Batch, Params, Task


@dataclass(frozen=True, eq=False)
class Reparametrized:
    """A task in units drawn anew for every training.

    Attributes:
        task: the task itself.
        settings: one factor for all parameters (`global`), per tensor or per parameter; and how large.
    """

    task: Task
    settings: Augmentation

    def __getattr__(self, name: str) -> Any:
        """Name, data, multipliers and minibatches are the task's own."""
        return getattr(self.task, name)

    def draw(self, key: Array) -> Params:
        """Factors a for every parameter: scalars, or at the level of parameters arrays of their shapes."""
        leaves, treedef = jax.tree.flatten(jax.eval_shape(self.task.init, key))
        level, key = self.settings.level, randomness.branch(key, "augmentation")
        shapes = [leaf.shape if level == "parameter" else () for leaf in leaves]
        keys = [randomness.branch(key, 0 if level == "global" else i) for i in range(len(leaves))]
        return jax.tree.unflatten(treedef, [self._factors(*each) for each in zip(keys, shapes, strict=True)])

    def _factors(self, key: Array, shape: tuple[int, ...]) -> Array:
        bound = math.log(self.settings.largest)
        return jnp.exp(jax.random.uniform(key, shape, jnp.float32, minval=-bound, maxval=bound))

    def init(self, key: Array) -> Params:
        """Fresh parameters φ = w/a, the factors being those that the same key draws."""
        return jax.tree.map(jnp.divide, self.task.init(key), self.draw(key))

    def loss(self, params: Params, batch: Batch, drawn: Any = ()) -> Array:
        """The task's loss at w = a·φ; `drawn` holds the factors."""
        return self.task.loss(jax.tree.map(jnp.multiply, params, drawn), batch)

    def full_loss(self, params: Params, data: Any, split: str, drawn: Any = ()) -> Array:
        """The task's full loss at w = a·φ."""
        return self.task.full_loss(jax.tree.map(jnp.multiply, params, drawn), data, split)
