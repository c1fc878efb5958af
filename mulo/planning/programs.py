"""Arithmetic of a function of arrays, counted from its abstract values: nothing is compiled or run."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import Jaxpr

from mulo.cost import Cost


def size_of(tree: Any) -> int:
    """Bytes of all leaves, arrays or their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def matrix_products(f: Callable[..., Any], *shapes: Any) -> Cost:
    """Of all matrix products and convolutions in `f`; elementwise work between them counts as fused into them."""
    return _products(jax.make_jaxpr(f)(*shapes).jaxpr)


def operations(f: Callable[..., Any], *shapes: Any) -> tuple[int, Any]:
    """How many operations `f` has, those of loops counted once, and the shapes of its results."""
    jaxpr, results = jax.make_jaxpr(f, return_shape=True)(*shapes)
    return _operations(jaxpr.jaxpr), results


def _operations(jaxpr: Jaxpr) -> int:
    return sum(1 + sum(map(_operations, inside(eqn))) for eqn in jaxpr.eqns)


def _products(jaxpr: Jaxpr) -> Cost:
    total = Cost(0, 0)
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
            moved = sum(size_of(v.aval) for v in (*eqn.invars, *eqn.outvars) if hasattr(v.aval, "dtype"))
            total += Cost(2 * math.prod(_shape(eqn.outvars[0])) * _summed(eqn), moved)
        repeats = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        for inner in inside(eqn):
            total += _products(inner).times(repeats)
    return total


def _summed(eqn: Any) -> int:
    """How many products are added up for one entry of the result."""
    right = _shape(eqn.invars[1])
    if eqn.primitive.name == "dot_general":
        return math.prod(right[axis] for axis in eqn.params["dimension_numbers"][0][1])
    return math.prod(right) // right[eqn.params["dimension_numbers"].rhs_spec[0]]


def inside(eqn: Any) -> Iterator[Jaxpr]:
    """The programs that an operation runs, such as a loop's body."""
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(part, "jaxpr", part)
            if isinstance(inner, Jaxpr):
                yield inner


def _shape(v: Any) -> tuple[int, ...]:
    return v.aval.shape
