"""Where the contract's tests run: MULO_TEST_MESH lays their parameters out over two devices, or sets a mesh."""

import contextlib
import os

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

MESHES = ("auto", "explicit", "set_mesh", "set_mesh_explicit")
"""Parameters shared out over a mesh of auto or explicit axes; or a mesh that is set, and parameters as ever."""

ROUNDING = 1e-4 if "MULO_TEST_MESH" in os.environ else 2e-5
"""Relative; over devices sums are added up in an order that depends on the program."""


def mesh():
    """Of two devices; None where the tests are to run as ever."""
    chosen = os.environ.get("MULO_TEST_MESH")
    if chosen is None:
        return None
    kind = AxisType.Explicit if chosen.endswith("explicit") else AxisType.Auto
    return jax.make_mesh((2,), ("devices",), axis_types=(kind,))


def placed(tree, leading=0):
    """Every array shared out along its first even dimension after the leading ones, where that was asked for."""
    over = mesh()
    if over is None or os.environ["MULO_TEST_MESH"].startswith("set_mesh"):
        return tree

    def place(x):
        axis = next(i for i in range(leading, np.ndim(x)) if x.shape[i] % 2 == 0)
        return jax.device_put(x, NamedSharding(over, PartitionSpec(*[None] * axis, "devices")))

    return jax.tree.map(place, tree)


def surroundings():
    """The mesh is set where that was asked for; parameters under explicit axes need it to be."""
    chosen = os.environ.get("MULO_TEST_MESH", "auto")
    return contextlib.nullcontext() if chosen == "auto" else jax.set_mesh(mesh())
