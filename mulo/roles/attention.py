"""Whether attention scales its logits as µP asks: measured on what it computes, since functions can be wrapped."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from mulo.roles.modules import Attention

_STOCK = (nnx.dot_product_attention, nn.dot_product_attention, jax.nn.dot_product_attention)
_ENTRY = 0.25
"""Of all queries and keys: small enough that a softmax distinguishes logits that grow like the head size."""
_OPTIONS = {
    "mask": None,
    "dropout_rng": None,
    "dropout_rate": 0.0,
    "broadcast_dropout": True,
    "deterministic": True,
    "dtype": None,
    "precision": None,
    "module": None,
}
"""What `nnx.MultiHeadAttention` passes on."""


def warn_of_attention(model: Mapping[str, Attention], other: Mapping[str, Attention]) -> None:
    """Warns of attention whose heads grow and whose logits do not fall as 1/d_head, as µP needs it."""
    growth = {path: _growth(module, other[path]) for path, module in model.items() if path in other}
    wrong = [path for path, power in growth.items() if power > 0.25]
    if wrong:
        scalings = sorted({f"{model[path].kind} {_scaling(growth[path])}" for path in wrong})
        warnings.warn(
            f"{', '.join(wrong)}: {' and '.join(scalings)}, and d_head grows with the width. µP needs 1/d_head: "
            "see the attention_fn in the docstring of mulo.parametrize.",
            stacklevel=3,
        )


def _scaling(power: float) -> str:
    is_root = abs(power - 0.5) < 0.1
    return "scales its logits by 1/√d_head" if is_root else f"scales its logits by d_head^{round(power - 1, 1) + 0.0:g}"


def _growth(attention: Attention, other: Attention) -> float:
    """The power of d_head with which logits of aligned queries and keys grow: 0 is right, 1/√d_head gives 1/2."""
    if attention.head_size == other.head_size:
        return 0.0
    logits = _logit(attention), _logit(other)
    if not all(np.isfinite(logit) and logit > 0 for logit in logits):
        return 0.5 if _is_stock(attention.function) else 0.0
    return math.log(logits[1] / logits[0]) / math.log(other.head_size / attention.head_size)


def _logit(attention: Attention) -> float:
    """Of a query and key of equal entries, less that of a query of zeros; NaN where it cannot be measured."""
    # Two examples, two positions: the last one sees both keys under a causal mask, too.
    query, key, value = (np.zeros((2, 2, 1, attention.head_size), np.float32) for _ in range(3))
    query[0], key[:, 0] = _ENTRY, _ENTRY
    value[:, 0, :, 0], value[:, 1, :, -1] = 1, 1
    try:
        with jax.ensure_compile_time_eval():
            weights = np.asarray(_called(attention.function, *map(jax.numpy.asarray, (query, key, value))), np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.log(weights[:, 1, 0, 0]) - np.log(weights[:, 1, 0, -1])
            return float(logits[0] - logits[1])
    except Exception:  # a user's function may ask for anything: another backend, another shape
        return math.nan


def _called(function: Callable[..., Any], *arrays: Any) -> Any:
    try:
        return function(*arrays, **_OPTIONS)
    except TypeError:
        return function(*arrays)


def _is_stock(function: Any) -> bool:
    """Looks through `functools.partial`, where it leaves the scale alone, and `functools.wraps`."""
    while function not in _STOCK:
        inner = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
        if inner is None or "scale" in getattr(function, "keywords", ()):
            return False
        function = inner
    return True
