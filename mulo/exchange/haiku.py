"""θ as the Haiku checkpoints in circulation store it: flat `module/path/name` keys over NumPy arrays."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mulo import trees
from mulo.config import Celo2Config, LearnedOptimizerConfig, SmallFCConfig, VeLOConfig
from mulo.errors import ReferenceFileError
from mulo.optimizers import make_optimizer
from mulo.optimizers.accumulators import Decays
from mulo.optimizers.per_parameter_mlp import MLP
from mulo.optimizers.tensor_lstm import Linear, LSTMState, TensorLSTM
from mulo.types import Array, Theta

_FIRST_LAYER_PARTS = 14


class _Arrays:
    """Looks arrays up by name and remembers which were used, so that nothing is dropped by silence."""

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


def read_haiku(arrays: Mapping[str, np.ndarray], config: LearnedOptimizerConfig) -> Theta:
    """θ of small_fc, VeLO or Celo2 from its Haiku names, such as `nn/~/w0` or `rnn_params/linear_1/w`.

    Args:
        arrays: flat mapping from name to array, for example an opened npz file.
        config: settings of the optimizer that θ belongs to; decides the architecture and is held against the shapes.

    Raises:
        ReferenceFileError: an array is missing, left over, or of another size than the settings say.
    """
    given = _Arrays(arrays)
    theta = _READERS[type(config)](given)
    _check_sizes(theta, config)
    return theta


def _small_fc(given: _Arrays) -> Theta:
    mlp = MLP(*(given[f"nn/~/{letter}{layer}"] for layer in range(3) for letter in "wb"))
    decays = Decays(given["momentum_decays"], given["rms_decays"], given["adafactor_decays"])
    given.refuse_rest()
    return {"mlp": mlp, "decays": decays}


def _stacked_mlp(given: _Arrays) -> MLP:
    stack = "ff_mod_stack/~/"
    return MLP(_first_layer(given, stack), *(given[stack + name] for name in ("b0", "w1", "b1", "w2", "b2")))


def _celo2(given: _Arrays) -> Theta:
    mlp = _stacked_mlp(given)
    given.refuse_rest()
    return {"mlp": mlp}


def _velo(given: _Arrays) -> Theta:
    mlp = _stacked_mlp(given)
    rnn = "rnn_params/"
    state = LSTMState(given["lstm_init_state/hidden"], given["lstm_init_state/cell"])
    parts = ("linear_1", "linear_2", "rnn/linear", "rnn_to_controls", "step_size")
    lstm = TensorLSTM._make([*(given.linear(rnn + part) for part in parts), state])
    # Haiku's VeLO creates a layer named `linear` whose output nothing reads.
    given.refuse_rest(allowed=(f"{rnn}linear/w", f"{rnn}linear/b"))
    return {"mlp": mlp, "lstm": lstm}


_READERS = {SmallFCConfig: _small_fc, VeLOConfig: _velo, Celo2Config: _celo2}


def _first_layer(given: _Arrays, stack: str) -> Array:
    parts = [given[f"{stack}w0__{i}"] for i in range(_FIRST_LAYER_PARTS)]
    try:
        return jnp.concatenate(parts, axis=-2)
    except (TypeError, ValueError) as error:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ReferenceFileError(f"θ has {stack}w0__0 … that do not fit together: {shapes}.") from error


def _check_sizes(theta: Theta, config: LearnedOptimizerConfig) -> None:
    found = {"hidden_size": theta["mlp"].w1.shape[-1]}
    if "lstm" in theta:
        found |= {
            "lstm_hidden_size": theta["lstm"].initial.hidden.shape[-1],
            "param_inits": theta["mlp"].w0.shape[0],
        }
    for name, size in found.items():
        if getattr(config, name) != size:
            raise ReferenceFileError(f"θ has {name}={size}, and the settings say {getattr(config, name)}.")
    expected = jax.eval_shape(make_optimizer(config).init, jax.random.key(0))
    for name, array, like in zip(trees.names(theta), jax.tree.leaves(theta), jax.tree.leaves(expected), strict=True):
        if array.shape != like.shape:
            raise ReferenceFileError(f"θ has {name} of shape {array.shape}, and the settings ask for {like.shape}.")
