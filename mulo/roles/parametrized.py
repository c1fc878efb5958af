"""The table of a user's model: what every parameter is, its init and the multiplier of its updates."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any

import jax
from flax import nnx
from rich.console import Console, Group
from rich.table import Table

from mulo.errors import RoleError
from mulo.parametrization import Parametrization
from mulo.roles.draws import draw, is_special
from mulo.roles.parameters import LINEN, leaf_names, parameters, tree_of
from mulo.roles.rows import Row, kept_sentence
from mulo.types import Array, Multiplier

_COLUMNS = ("parameter", "role", "shape", "other shape", "fan-in", "init", "update ×")
_WIDE = 200


@dataclass(frozen=True)
class Parametrized(Mapping[str, Multiplier]):
    """A model's parameters with their roles; `print` shows the table. As a mapping it is that of its multipliers.

    Attributes:
        parametrization: the parametrization, with the output's forward multiplier folded into init and update.
        rows: one per parameter.
        notes: what the table cannot show, in sentences.
    """

    parametrization: Parametrization
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @cached_property
    def multipliers(self) -> dict[str, Multiplier]:
        """Update multiplier of every parameter by path, for `transform`, which takes the whole table as well.

        They are those of the first of the two models that `parametrize` was given, and carry its shapes: for the other
        one give the two in turn, `parametrize(other, model)`. Paths are the same whether optimizers get the state of an
        NNX module or its pure dictionary, Linen's variables (`params/…`) or their parameters alone.
        """
        by_path = {row.path: row.multiplier for row in self.rows}
        return by_path | {f"{LINEN}/{path}": multiplier for path, multiplier in by_path.items()}

    def __getitem__(self, path: str) -> Multiplier:
        return self.multipliers[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.multipliers)

    def __len__(self) -> int:
        return len(self.multipliers)

    def initialize(self, model: Any, key: Array) -> Any:
        """Draws all parameters anew, normal with the table's mean and std, each where and in the dtype that it is.

        Those of role `fixed` stay, and so do vectors that start at anything but what their kind starts at (0 for
        biases, 1 for gains), unless `roles` names them. Where `parametrize` saw no values, such as those of abstract
        models, the values here decide, and a warning names what is kept.

        Args:
            model: a module, state, variables or pytree with the table's parameters.
            key: source of the randomness; a parameter's draw depends on the key and its path alone.

        Returns:
            The module itself, changed in place; of anything else a new pytree like it, in its dtypes and shardings.

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
        shapes = {path: parameter.shape for path, parameter in parameters(model).items()}
        known = {row.path: row.shape for row in self.rows}
        wrong = sorted(path for path in shapes.keys() | known.keys() if shapes.get(path) != known.get(path))
        if wrong:
            path = wrong[0]
            raise RoleError(
                f"{path} is {_size(shapes.get(path))} here and {_size(known.get(path))} in the table: initialize takes "
                "the first of the two models that parametrize was given; for the other one, parametrize(other, model)."
            )

    def _fresh(self, tree: Any, key: Array) -> Any:
        rows = {row.path: row for row in self.rows}
        leaves, treedef = jax.tree.flatten(tree)
        pairs = [(rows.get(str(name)), leaf) for name, leaf in zip(leaf_names(tree), leaves, strict=True)]
        special = [row for row, leaf in pairs if row is not None and is_special(row, leaf)]
        if special:
            warnings.warn(kept_sentence(special), stacklevel=3)
        return jax.tree.unflatten(treedef, [leaf if row is None else draw(row, leaf, key) for row, leaf in pairs])

    def __rich__(self) -> Group:
        """The table and the notes."""
        table = Table(title=f"{self.parametrization.name}: {len(self.rows)} parameters", title_justify="left")
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


def _cells(row: Row) -> Sequence[str]:
    fan_in = "" if row.fan_in is None else f"{row.fan_in:,}" + (f" (window {row.window})" if row.window > 1 else "")
    return row.path, row.role, _size(row.shape), _size(row.other_shape), fan_in, _init(row), _update(row)


def _init(row: Row) -> str:
    if row.rule is None or row.kept:
        return "as it is"
    return f"std {row.rule.init_std:.3g}" if row.rule.init_std else f"{row.rule.init_mean:g}"


def _update(row: Row) -> str:
    n = row.fan_in or 1
    update = float(row.multiplier)
    return f"1/{n:,}" if n > 1 and update == 1 / n else f"{update:g}"


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " × ".join(map(str, shape)) or "scalar"
