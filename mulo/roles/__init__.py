"""µP for a user's own model: roles and fan-ins are inferred from its shapes at two widths."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn

from mulo.errors import ConfigError, RoleError
from mulo.parametrization import Parametrization
from mulo.roles.attention import warn_of_attention
from mulo.roles.case import Case, Given
from mulo.roles.inference import ROLES, infer
from mulo.roles.modules import Modules, modules_of, modules_of_linen
from mulo.roles.notes import notes_on
from mulo.roles.parameters import Parameter, parameters
from mulo.roles.parametrized import Parametrized
from mulo.roles.rows import Row


def parametrize(
    model: Any,
    other: Any,
    *,
    parametrization: str | Parametrization = "mup",
    blocks: int | None = None,
    roles: Mapping[str, str] | None = None,
    fan_in: Mapping[str, int] | None = None,
    window: Mapping[str, int] | None = None,
    inputs: Any = None,
) -> Parametrized:
    """Infers the role of every parameter of a model, and from it its init and the multiplier of its updates.

    A matrix of which both dimensions differ between the two models is `hidden`, one of which only fan-out differs
    `input`, only fan-in `output`. Nothing is guessed: what the shapes leave open is an error that says what to give.
    The output's forward multiplier 1/fan_in is folded into its init and update, so the model's code stays as it is.

    What shapes cannot show is up to the model: under µP attention scales its logits by 1/d_head, not 1/√d_head. For
    `nnx.MultiHeadAttention`::

        def attention_fn(query, *args, **options):
            return nnx.dot_product_attention(query / query.shape[-1] ** 0.5, *args, **options)

        nnx.MultiHeadAttention(..., attention_fn=attention_fn)

    An output that shares its matrix with the embedding multiplies its logits by 1/fan_in itself.

    Args:
        model: the model to train: a Flax NNX module, its `nnx.State`, a Linen module with `inputs`, Linen variables, or
            a pytree of arrays whose matrices are [in, out]; concrete, or abstract as `nnx.eval_shape` and
            `jax.eval_shape` return it. A `weight`, which may be [out, in], and a kernel that may be a
            transposed convolution's are errors that ask for its layout, unless its bias's shape decides.
        other: the same at another width, wider or narrower; all widths of the family should differ.
        parametrization: `mup`, `sp` or `completep`, or a `Parametrization` with choices of its own.
        blocks: number of residual blocks, which `completep` needs.
        roles: role by path, where the shapes leave it open: `input`, `embedding`, `hidden`, `output`, `bias`, `norm`,
            or `fixed` (multiplier 1, and left alone by `initialize`). A vector whose role is given is set to its
            start, even if it starts at values of its own.
        fan_in: fan-in by path, where the shapes leave it open; of convolutions the input channels.
        window: size of a convolution's window (k·k) by path, for those whose fan-in is given.
        inputs: what Linen modules are called with: a tuple of arguments, a mapping of named ones, or a single one;
            arrays may be described by `jax.ShapeDtypeStruct`. A module may be bound to its variables.

    Returns:
        The table of all parameters of `model`, with `multipliers` and `initialize`. Print it. That of `other` is
        `parametrize(other, model)`.

    Raises:
        RoleError: the models differ in more than their width, or not at all, or a role is open.
        ConfigError: a setting is unknown or misses what it needs.
    """
    parametrization = _folded(parametrization, blocks)
    if inputs is not None and not any(isinstance(each, nn.Module) for each in (model, other)):
        raise ConfigError("inputs are for Linen modules, and neither model is one. Leave them out.")
    (first, modules), (second, others) = _read(model, inputs), _read(other, inputs)
    _check_family(first, second)
    given = Given(roles or {}, fan_in or {}, window or {})
    _check_given(given, first)
    rows = tuple(_row(Case.of(path, first, second, given), parametrization) for path in first)
    if parametrization.name != "sp":
        warn_of_attention(modules.attention, others.attention)
    return Parametrized(parametrization, rows, tuple(notes_on(rows, first, parametrization, modules.attention)))


def _folded(parametrization: str | Parametrization, blocks: int | None) -> Parametrization:
    if isinstance(parametrization, Parametrization):
        return replace(parametrization, blocks=parametrization.blocks if blocks is None else blocks, folded=True)
    if (parametrization == "completep") != (blocks is not None):
        raise ConfigError.value("blocks", blocks, "the number of residual blocks with completep, None otherwise")
    return Parametrization(parametrization, blocks=1 if blocks is None else blocks, folded=True)


def _read(model: Any, inputs: Any) -> tuple[dict[str, Parameter], Modules]:
    if isinstance(model, nn.Module):
        variables, modules = modules_of_linen(model, inputs)
        return parameters(variables, modules), modules
    modules = modules_of(model)
    return parameters(model, modules), modules


def _row(case: Case, parametrization: Parametrization) -> Row:
    inferred = infer(case)
    if inferred.fan_in is None and (case.path in case.given.fan_in or case.path in case.given.window):
        raise case.error(f"it is a {inferred.role}, which has no fan-in or window: leave them out or give its role.")
    return Row.of(case, inferred, parametrization)


def _check_family(first: Mapping[str, Parameter], second: Mapping[str, Parameter]) -> None:
    alone = sorted(set(first) ^ set(second))
    if alone:
        raise RoleError(f"Only one of the two models has {_some(alone)}. They may differ in their width alone.")
    ranks = [path for path in first if len(first[path].shape) != len(second[path].shape)]
    if ranks:
        raise RoleError(f"{_shapes(ranks, first, second)}: the two models' ranks differ. Only their width may differ.")
    _check_growth(first, second)


def _check_growth(first: Mapping[str, Parameter], second: Mapping[str, Parameter]) -> None:
    growing = [path for path in first if any(a < b for a, b in _sizes(first[path], second[path]))]
    shrinking = [path for path in first if any(a > b for a, b in _sizes(first[path], second[path]))]
    if not growing + shrinking:
        raise RoleError(f"Both models have the same width: all shapes are equal ({_some(list(first))}). Give another.")
    if growing and shrinking:
        both = list(dict.fromkeys([growing[0], shrinking[0]]))
        raise RoleError(
            f"{_shapes(both, first, second)}: from the model to the other some dimensions grow and some shrink. Give "
            "two models of one family, the second wider or narrower in every width."
        )


def _sizes(first: Parameter, second: Parameter) -> Iterator[tuple[int, int]]:
    return zip(first.shape, second.shape, strict=True)


def _check_given(given: Given, known: Mapping[str, Parameter]) -> None:
    for name, values in (("roles", given.roles), ("fan_in", given.fan_in), ("window", given.window)):
        unknown = [path for path in values if path not in known]
        if unknown:
            raise ConfigError(f"{name} names {_some(unknown)}; the model has only {_some(list(known))}.")
    for path, role in given.roles.items():
        if role not in ROLES:
            raise ConfigError.value(f"roles['{path}']", role, f"one of {', '.join(ROLES)}")
    for path, size in [*given.fan_in.items(), *given.window.items()]:
        if size < 1:
            raise ConfigError.value(f"fan_in or window of {path}", size, "a whole number from 1")


def _shapes(paths: list[str], first: Mapping[str, Parameter], second: Mapping[str, Parameter]) -> str:
    return "; ".join(f"{path}, {list(first[path].shape)} and {list(second[path].shape)}" for path in paths)


def _some(paths: list[str], most: int = 8) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


__all__ = ["Parametrized", "Row", "parametrize"]
