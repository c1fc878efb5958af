"""θ as the Haiku checkpoints in circulation store it: flat `module/path/name` keys over NumPy arrays."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mulo import trees
from mulo.errors import ReferenceFileError
from mulo.optimizers import PerParameterMLP
from mulo.optimizers.tensor_lstm import Linear
from mulo.types import Array, Theta


class _Arrays:
    """Looks arrays up by name and remembers which were used, so that no array is dropped silently."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        if name not in self.arrays:
            known = ", ".join(sorted(self.arrays)) or "nothing"
            raise ReferenceFileError(f"θ has no array named {name}; it has {known}.")
        self.used.add(name)
        return jnp.asarray(self.arrays[name], jnp.float32)

    def linear(self, name: str) -> Linear:
        return Linear(self[f"{name}/w"], self[f"{name}/b"])

    def refuse_rest(self, allowed: tuple[str, ...] = ()) -> None:
        rest = sorted(set(self.arrays) - self.used - set(allowed))
        if rest:
            raise ReferenceFileError(f"θ has arrays that this architecture does not know: {', '.join(rest)}.")


def read_haiku(arrays: Mapping[str, np.ndarray], config: PerParameterMLP) -> Theta:
    """θ from its Haiku names, such as `nn/~/w0` or `rnn_params/linear_1/w`.

    Args:
        arrays: flat mapping from name to array, for example an opened npz file.
        config: settings of the optimizer that θ belongs to; decides the architecture and the shapes.

    Raises:
        ReferenceFileError: an array is missing, left over, or of another size than in the settings.
    """
    theta = config.read_haiku(_Arrays(arrays))
    _check_sizes(theta, config)
    return theta


def _check_sizes(theta: Theta, config: PerParameterMLP) -> None:
    for name, size in config.sizes(theta).items():
        if getattr(config, name) != size:
            raise ReferenceFileError(f"θ has {name}={size}; expected {getattr(config, name)} as in the settings.")
    expected = jax.eval_shape(config.init, jax.random.key(0))
    for name, array, like in zip(trees.names(theta), jax.tree.leaves(theta), jax.tree.leaves(expected), strict=True):
        if array.shape != like.shape:
            raise ReferenceFileError(f"θ has {name} of shape {array.shape}; expected {like.shape} by the settings.")
