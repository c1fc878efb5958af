"""What modules of Flax state about their parameters' dimensions and of their attention, by path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax import nnx
from flax.core import meta

from mulo.errors import ConfigError


class Attention(NamedTuple):
    """One attention module."""

    function: Callable[..., Any]
    """Of queries, keys and values [batch, length, heads, head size]."""
    head_size: int
    kind: str
    """As users call it."""


class Kernel(NamedTuple):
    """What a layer states about its kernel."""

    axes: str
    """One letter per dimension."""
    shape: tuple[int, ...] | None
    """Without dimensions that `vmap` or `scan` add, where the layer knows it."""


@dataclass(frozen=True)
class Modules:
    """The modules of a model that are known.

    Attributes:
        kernels: those of layers, by their own path.
        attention: attention modules by path.
        paths: of all modules that were seen.
    """

    kernels: dict[str, Kernel] = field(default_factory=dict)
    attention: dict[str, Attention] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)

    def axes(self, path: str, shape: tuple[int, ...]) -> str | None:
        """What the layer states about a parameter; dimensions before its own are a stack."""
        kernel = self.kernels.get(path)
        is_known = kernel is not None and kernel.shape in (None, shape[len(shape) - len(kernel.axes) :])
        return kernel.axes.rjust(len(shape), "s") if kernel is not None and is_known else None

    def holds(self, path: str) -> bool:
        """Whether a module without layout of its own, a user's, has this parameter."""
        return path.rpartition("/")[0] in self.paths and path not in self.kernels


def modules_of(model: Any) -> Modules:
    """The modules of an NNX module; none of anything else."""
    seen = Modules()
    for path, module in nnx.iter_modules(model) if isinstance(model, nnx.Module) else ():
        name = "/".join(map(str, path))
        if not isinstance(module, nnx.Dict | nnx.List | nnx.bridge.ToNNX):  # these hold what others laid out
            seen.paths.add(name)
        axes = _kernel_axes(getattr(module, "to_nnx__module", module))
        if axes is not None:
            seen.kernels[_join(name, "kernel")] = Kernel(axes, _kernel_shape(module))
        if isinstance(module, nnx.MultiHeadAttention):
            seen.attention[name] = Attention(module.attention_fn, module.head_dim, "nnx.MultiHeadAttention")
    return seen


def modules_of_linen(module: nn.Module, inputs: Any) -> tuple[Any, Modules]:
    """Variables of a Linen module, as shapes or as it is bound to them, and the modules that its call makes.

    Args:
        module: as it is or bound to variables.
        inputs: what it is called with: a tuple of arguments, a mapping of named ones, or a single one; arrays may be
            described by `jax.ShapeDtypeStruct`.

    Raises:
        ConfigError: there are no inputs.
    """
    if inputs is None:
        raise ConfigError(
            "inputs=None is invalid: a Linen module has parameters once it is called. Give its arguments, "
            "such as inputs=jax.ShapeDtypeStruct((1, 28, 28, 1), 'float32') or inputs=(images, False)."
        )
    variables = None
    if module.scope is not None:
        module, variables = module.unbind()
    seen = Modules()
    with nn.intercept_methods(_watching(seen)):
        shapes = _shapes(module, inputs)
    return (shapes if variables is None else variables), seen


def _shapes(module: nn.Module, inputs: Any) -> Any:
    """Of the variables that `init` makes; nothing is computed."""
    leaves, treedef = jax.tree.flatten(inputs)
    arrays = {i: x for i, x in enumerate(leaves) if hasattr(x, "shape")}

    def init(arrays: dict[int, Any]) -> Any:
        arguments = jax.tree.unflatten(treedef, [arrays.get(i, x) for i, x in enumerate(leaves)])
        if isinstance(arguments, Mapping):
            return module.init(jax.random.key(0), **arguments)
        return module.init(jax.random.key(0), *(arguments if isinstance(arguments, tuple) else (arguments,)))

    return jax.eval_shape(init, arrays)


def _watching(seen: Modules) -> Callable[..., Any]:
    def watch(call: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, context: Any) -> Any:
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            _note(seen, context.module, args, kwargs)
        return result

    return watch


def _note(seen: Modules, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    name, params = "/".join(module.path), meta.unbox(module.variables).get("params", {})
    seen.paths.add(name)
    equation = kwargs.get("einsum_str") or next((x for x in args if isinstance(x, str)), None)
    axes = _kernel_axes(module, equation)
    if axes is not None:
        seen.kernels[_join(name, "kernel")] = Kernel(axes, tuple(params["kernel"].shape))
    if isinstance(module, nn.MultiHeadDotProductAttention):
        head_size, kind = params["query"]["kernel"].shape[-1], f"linen.{type(module).__name__}"
        seen.attention[name] = Attention(module.attention_fn, head_size, kind)


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _kernel_axes(module: Any, equation: str | None = None) -> str | None:
    """Of the kernel of a layer of Flax; None for other modules."""
    match module:
        case nnx.Linear() | nn.Dense():
            return "io"
        case nnx.LinearGeneral():
            return _general(module.batch_axis, module.in_features, module.out_features)
        case nn.DenseGeneral():
            return _general(module.batch_dims, module.axis, module.features)
        case nnx.Conv() | nnx.ConvTranspose() | nn.Conv() | nn.ConvTranspose():
            is_transposed = getattr(module, "transpose_kernel", False)
            return "w" * np.size(module.kernel_size) + ("oi" if is_transposed else "io")
        case nn.ConvLocal():
            return "s" * np.size(module.kernel_size) + "io"
        case nnx.Einsum() | nn.Einsum():
            return _einsum_axes(module.einsum_str or str(equation))
        case _:
            return None


def _kernel_shape(module: Any) -> tuple[int, ...] | None:
    if isinstance(module, nnx.Linear):
        return module.in_features, module.out_features
    return getattr(module, "kernel_shape", None)


def _general(batch: Any, summed: Any, features: Any) -> str:
    return "s" * _count(batch) + "i" * _count(summed) + "o" * _count(features)


def _count(dimensions: Any) -> int:
    return len(dimensions) if isinstance(dimensions, Mapping) else int(np.size(dimensions))


def _einsum_axes(equation: str) -> str:
    """What the dimensions of the second operand are."""
    operands, result = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return "".join("o" if axis not in inputs else "s" if axis in result else "i" for axis in kernel)
