"""The memory that a compiled function takes, read off its abstract values: which results exist as arrays, and when.

XLA computes chains of elementwise operations in one loop, and nothing between them exists. An array is made of what a
matrix product, a gather, a loop or a kernel reads or returns, of what a reduction returns, of costly results that are
read more than once (exp, tanh, …), and of what the function returns. What is computed on the fly keeps the arrays that
it comes from alive: a ReLU's mask, the pre-activation.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import Jaxpr, Literal

from mulo.planning.programs import inside, size_of

_CALLS = {"closed_call", "checkpoint", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat2"}
"""Operations that stand for the program inside them."""
_VIEWS = {"copy", "expand_dims", "optimization_barrier", "reshape", "squeeze", "stop_gradient", "transpose"}
_ELEMENTWISE = {
    *("abs", "add", "add_any", "and", "bitcast_convert_type", "broadcast_in_dim", "ceil", "clamp", "concatenate"),
    *("convert_element_type", "eq", "floor", "ge", "gt", "integer_pow", "iota", "is_finite", "le", "lt", "max", "min"),
    *("mul", "ne", "neg", "not", "or", "pad", "reduce_precision", "rem", "rev", "round", "select_n"),
    *("shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "slice", "square", "sub", "xor"),
}
_COSTLY = {
    *("cbrt", "cos", "div", "erf", "erf_inv", "exp", "exp2", "expm1", "log", "log1p", "logistic", "pow", "rsqrt"),
    *("sin", "sqrt", "tanh"),
}
"""Elementwise, and computed once where several operations read them."""
_REDUCTIONS = {"argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum"}


@dataclass(eq=False)
class _Array:
    size: int
    made: int
    last: int
    """When it is last read; time counts operations."""


@dataclass(eq=False)
class _Value:
    """A result: an array, its own only source, or something computed on the fly from its sources."""

    size: int
    sources: frozenset[_Array]
    exists: bool


class _Run:
    """A program's arrays in the order in which it makes them."""

    def __init__(self) -> None:
        self.now = 0
        self.arrays: list[_Array] = []
        self.within: dict[int, int] = {}
        """Bytes on the way inside operations that have programs, by their times."""

    def array(self, size: int) -> _Value:
        """A new one."""
        self.arrays.append(_Array(size, self.now, self.now))
        return _Value(size, frozenset(self.arrays[-1:]), True)

    def read(self, value: _Value) -> None:
        """By something that is computed in the same loop."""
        for array in value.sources:
            array.last = self.now

    def store(self, value: _Value) -> None:
        """For something that reads arrays; written over a source that nothing else will read."""
        self.read(value)
        if not value.exists:
            self.now += 1
            value.sources, value.exists = self.array(value.size).sources, True

    def program(self, jaxpr: Jaxpr, arguments: Sequence[_Value]) -> list[_Value]:
        """Runs all operations; returns the results."""
        known = dict(zip(jaxpr.invars, arguments, strict=True)) | {v: self.array(0) for v in jaxpr.constvars}
        reads = Counter(v for eqn in jaxpr.eqns for v in eqn.invars if not isinstance(v, Literal))

        def value(v: Any) -> _Value:
            return _Value(0, frozenset(), True) if isinstance(v, Literal) else known[v]

        for eqn in jaxpr.eqns:
            self.now += 1
            known |= zip(eqn.outvars, self._operation(eqn, list(map(value, eqn.invars)), reads), strict=True)
        return list(map(value, jaxpr.outvars))

    def _operation(self, eqn: Any, arguments: list[_Value], reads: Counter) -> list[_Value]:
        name, programs = eqn.primitive.name, list(inside(eqn))
        if name in _CALLS and len(programs[0].invars) == len(arguments):
            return self.program(programs[0], arguments)
        if name in _VIEWS:
            return arguments
        if name in _ELEMENTWISE or (name in _COSTLY and reads[eqn.outvars[0]] < 2):
            sources = frozenset[_Array]().union(*(value.sources for value in arguments))
            return [_Value(size_of(eqn.outvars[0].aval), sources, False)]
        for value in arguments:
            (self.read if name in _COSTLY | _REDUCTIONS else self.store)(value)
        self.within[self.now] = max(map(_peak, programs), default=0)
        return [self.array(size_of(v.aval)) for v in eqn.outvars]

    def peak(self) -> int:
        """Most bytes at one time."""
        change: Counter[int] = Counter()
        for array in self.arrays:
            change[array.made] += array.size
            change[array.last + 1] -= array.size
        held = most = 0
        for time in sorted(change):
            held += change[time]
            most = max(most, held + self.within.get(time, 0))
        return most


def _peak(jaxpr: Jaxpr) -> int:
    run = _Run()
    results = run.program(jaxpr, [run.array(0) for _ in jaxpr.invars])
    run.now += 1
    for value in results:
        run.store(value)
    return run.peak()


def peak_bytes(f: Callable[..., Any], *shapes: Any) -> int:
    """Most bytes of arrays alive at one time while `f` runs compiled, its arguments not counted."""
    return _peak(jax.make_jaxpr(f)(*shapes).jaxpr)
