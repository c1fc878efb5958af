"""The table of a user's model: what every parameter is, its init and the multiplier of its updates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import StringIO
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console, Group
from rich.table import Table

from mulo.errors import RoleError
from mulo.parametrization import Parametrization, Role, Rule
from mulo.randomness import branch
from mulo.roles.inference import FIXED, Found
from mulo.roles.parameters import LINEN, leaf_names, parameters, tree_of
from mulo.types import Array, Multiplier

_COLUMNS = ("parameter", "role", "shape", "other shape", "fan-in", "init", "update ×")
_WIDE = 200


class Row(NamedTuple):
    """One parameter."""

    path: str
    """As `trees.names` writes it, without the `params` of Linen variables."""
    role: str
    shape: tuple[int, ...]
    other_shape: tuple[int, ...]
    """In the model of the other width."""
    fan_in: int | None
    """Of matrices and convolutions, of these the input channels."""
    window: int
    """k·k of a convolution, 1 otherwise."""
    rule: Rule | None
    """Its numbers; None for what is fixed."""

    @classmethod
    def of(
        cls, path: str, found: Found, shape: tuple[int, ...], other_shape: tuple[int, ...], scheme: Parametrization
    ) -> "Row":
        """Looks up the numbers of what was found."""
        is_fixed = found.role == FIXED
        rule = None if is_fixed else scheme.rule(Role(found.role), found.fan_in or 1, found.window)
        return cls(path, str(found.role), shape, other_shape, found.fan_in, found.window, rule)

    @property
    def multiplier(self) -> Multiplier:
        """Factor on its updates."""
        return self.rule.update if self.rule else Multiplier(1)


@dataclass(frozen=True)
class Parametrized:
    """A model's parameters with their roles; `print` shows the table.

    Attributes:
        scheme: the parametrization, with the output's forward multiplier folded into init and update.
        rows: one per parameter.
        notes: what the table cannot show, in sentences.
    """

    scheme: Parametrization
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @cached_property
    def multipliers(self) -> dict[str, Multiplier]:
        """Update multiplier of every parameter by path, for `transform`.

        The same whether optimizers get the state of an NNX module or its pure dictionary, Linen's variables
        (`params/…`) or their parameters alone.
        """
        own = {row.path: row.multiplier for row in self.rows}
        return own | {f"{LINEN}/{path}": multiplier for path, multiplier in own.items()}

    def initialize(self, model: Any, key: Array) -> Any:
        """Draws all parameters anew, normal with the table's mean and std; those of role `fixed` stay.

        Args:
            model: a module, state, variables or pytree with the table's parameters.
            key: source of the randomness; a parameter's draw depends on the key and its path alone.

        Returns:
            The module itself, changed in place; of anything else a new pytree like it, in the same dtypes.

        Raises:
            RoleError: it has other parameters or shapes than the table.
        """
        self._check(model)
        fresh = self._fresh(tree_of(model), key)
        if not isinstance(model, nnx.Module):
            return fresh
        nnx.update(model, fresh)
        return model

    def _check(self, model: Any) -> None:
        found = {path: parameter.shape for path, parameter in parameters(model).items()}
        known = {row.path: row.shape for row in self.rows}
        wrong = sorted(path for path in found.keys() | known.keys() if found.get(path) != known.get(path))
        if wrong:
            path = wrong[0]
            raise RoleError(
                f"{path} is {_size(found.get(path))} here and {_size(known.get(path))} in the table: initialize takes "
                "the first of the two models that parametrize was given."
            )

    def _fresh(self, tree: Any, key: Array) -> Any:
        rows = {row.path: row for row in self.rows}
        leaves, treedef = jax.tree.flatten(tree)
        pairs = zip(leaf_names(tree), leaves, strict=True)
        drawn = [x if name is None else _draw(rows[name], x, key) for name, x in pairs]
        return jax.tree.unflatten(treedef, drawn)

    def __rich__(self) -> Group:
        """The table and the notes."""
        table = Table(title=f"{self.scheme.name}: {len(self.rows)} parameters", title_justify="left")
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column in _COLUMNS[:2] else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*_cells(row))
        return Group(table, *self.notes)

    def __str__(self) -> str:
        """The table and the notes as text."""
        console = Console(file=StringIO(), width=_WIDE)
        console.print(self)
        return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def _draw(row: Row, leaf: Any, key: Array) -> Any:
    if row.rule is None:
        return leaf
    if row.rule.init_std == 0:
        return jnp.full(row.shape, row.rule.init_mean, leaf.dtype)
    return _normal(branch(key, row.path), row.rule.init_std, row.shape, leaf.dtype)


@partial(jax.jit, static_argnums=(2, 3))
def _normal(key: Array, std: float, shape: tuple[int, ...], dtype: Any) -> Array:
    return (std * jax.random.normal(key, shape)).astype(dtype)


def _cells(row: Row) -> Sequence[str]:
    fan_in = "" if row.fan_in is None else f"{row.fan_in:,}" + (f" (window {row.window})" if row.window > 1 else "")
    return row.path, row.role, _size(row.shape), _size(row.other_shape), fan_in, _init(row.rule), _update(row)


def _init(rule: Rule | None) -> str:
    if rule is None:
        return "as it is"
    return f"std {rule.init_std:.3g}" if rule.init_std else f"{rule.init_mean:g}"


def _update(row: Row) -> str:
    n = row.fan_in or 1
    return f"1/{n:,}" if n > 1 and row.multiplier == 1 / n else f"{row.multiplier:g}"


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " × ".join(map(str, shape)) or "scalar"
