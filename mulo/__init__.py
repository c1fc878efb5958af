"""mulo: learned optimizers that transfer to networks far larger than those they were trained on.

The package follows "µLO: Compute-Efficient Meta-Generalization of Learned Optimizers"
(arXiv 2406.00153). Importing it is cheap: JAX is loaded by the first name that needs it.
"""

from importlib import import_module
from typing import Any

from mulo.version import __version__

_HOMES = {
    "load": "mulo.checkpoint",
    "parametrize": "mulo.roles",
    "read_haiku": "mulo.exchange.haiku",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mulo' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
