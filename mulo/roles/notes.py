"""What a person should know of a parametrized model beyond its table."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flax import nnx

from mulo.parametrization import Parametrization, Role
from mulo.roles.parameters import Parameter
from mulo.roles.parametrized import Row


def notes_on(rows: Sequence[Row], own: Mapping[str, Parameter], scheme: Parametrization) -> Iterator[str]:
    """One sentence or two each."""
    outputs = [row.path for row in rows if row.role == Role.OUTPUT]
    if scheme.name != "sp" and not outputs:
        yield "No parameter is an output: if it is the embedding's matrix too, multiply the logits by 1/fan_in."
    if scheme.name != "sp" and scheme.output_init == "zeros" and len(outputs) > 1:
        yield (
            f"{', '.join(outputs)} all start at 0. Side by side that is fine, but one after the other none learns: "
            "then give parametrization=Parametrization('mup', output_init='normal') of mulo.parametrization."
        )
    if scheme.name == "completep":
        yield f"Multiply what every residual block adds by 1/{scheme.blocks}: shapes do not show the branches."
    moved = [row.path for row in rows if _moves(row, own[row.path])]
    if moved:
        yield f"initialize sets {', '.join(moved)} to another constant than the model's; the role `fixed` keeps it."


def _moves(row: Row, parameter: Parameter) -> bool:
    is_constant = row.role in (Role.BIAS, Role.NORM) and parameter.constant is not None
    return is_constant and row.rule is not None and parameter.constant != row.rule.init_mean


def warn_of_attention(model: Any, other: Any, scheme: Parametrization) -> None:
    """Warns of stock attention modules whose heads grow: they scale logits by 1/√d_head."""
    if scheme.name == "sp" or not (isinstance(model, nnx.Module) and isinstance(other, nnx.Module)):
        return
    others = _attention(other)
    found = [path for path, module in _attention(model).items() if _wrong(module, others.get(path))]
    if found:
        warnings.warn(
            f"{', '.join(found)}: nnx.MultiHeadAttention scales its logits by 1/√d_head, and d_head grows with the "
            "width. µP needs 1/d_head: see the attention_fn in the docstring of mulo.parametrize.",
            stacklevel=3,
        )


def _attention(model: nnx.Module) -> dict[str, Any]:
    modules = nnx.iter_modules(model)
    return {"/".join(map(str, path)): module for path, module in modules if isinstance(module, nnx.MultiHeadAttention)}


def _wrong(module: Any, other: Any) -> bool:
    is_stock = module.attention_fn is nnx.dot_product_attention
    return is_stock and other is not None and module.head_dim != other.head_dim
