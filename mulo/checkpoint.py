"""Checkpoints: θ, the settings that give it meaning and, while meta-training goes on, all the rest of its state.

A checkpoint is a folder with the Orbax items `theta`, `meta` (JSON) and, in training checkpoints, `state`. A run
directory keeps the last two training checkpoints under `checkpoints/last/<outer step>` and the best θ under
`checkpoints/best/<outer step>`. Nothing in a checkpoint is executed: settings are parsed like those of a command line.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulo import checkpoint_arrays, distributed, weights
from mulo.checkpoint_folders import CHECKSUMS, check_files, checksums, clear, find, keep_last, last_step
from mulo.config import parse_group
from mulo.errors import CheckpointError
from mulo.files import replacing
from mulo.optimizers import Optimizer
from mulo.version import __version__

if TYPE_CHECKING:
    import optax

    from mulo.types import LearnedOptimizer, Multipliers, Theta

FORMAT = 1
_KEEP_LAST = 2


@dataclass(frozen=True)
class Meta:
    """What a checkpoint holds besides arrays; read without loading any."""

    path: Path
    optimizer: Optimizer
    step: int
    """Outer steps done."""
    config: Mapping[str, Any]
    """The whole resolved configuration of the run that wrote it."""
    digests: Mapping[str, str]
    """SHA-256 of every array item, compared with what is read."""
    mulo_version: str


@dataclass(frozen=True)
class Loaded:
    """A learned optimizer ready for use."""

    optimizer: "LearnedOptimizer"
    theta: "Theta"
    meta: Meta

    def transform(self, num_steps: int, multipliers: "Multipliers") -> "optax.GradientTransformationExtraArgs":
        """The optimizer with the stored θ, used like `optax.adam` with the loss as `value=`.

        Args:
            num_steps: length of the training, which VeLO and schedules go by.
            multipliers: update multiplier of every parameter by its path, or the table of `mulo.parametrize` as it is.
        """
        return self.optimizer.transform(self.theta, num_steps, multipliers)


def latest(run_dir: Path) -> Meta | None:
    """The checkpoint that a run goes on from; None where no save of it has come to its end.

    Raises:
        CheckpointError: it is damaged.
    """
    step = last_step(run_dir / "checkpoints" / "last")
    return None if step is None else read_meta(step)


def read_meta(path: str | Path) -> Meta:
    """Reads settings and digests of the checkpoint or weights that `path` means, quickly and without JAX.

    Raises:
        CheckpointError: missing, damaged, or of a newer format.
    """
    if file := weights.find(path):
        return _meta_of(file)
    folder = find(path)
    try:
        raw = json.loads((folder / "meta" / "metadata").read_text(encoding="utf-8"))
        if raw["format"] > FORMAT:
            advice = f"mulo {raw['mulo_version']} wrote it; this is mulo {__version__}: upgrade."
            raise CheckpointError(
                f"{folder} has checkpoint format {raw['format']}; expected at most {FORMAT}. {advice}"
            )
        optimizer = parse_group("optimizer", raw["optimizer"])
        check_files(folder)
        return Meta(folder, optimizer, raw["step"], raw["config"], raw["digests"], raw["mulo_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(_damaged(folder, error)) from error


def _meta_of(file: Path) -> Meta:
    card = weights.read_card(file)
    optimizer = parse_group("optimizer", card.optimizer)
    return Meta(file, optimizer, card.step, card.config, card.digests, card.mulo_version)


def _damaged(folder: Path, reason: object) -> str:
    message = str(reason).strip().splitlines()[0][:200] if str(reason).strip() else type(reason).__name__
    if folder.suffix == weights.SUFFIX:
        return weights.damaged(folder, message)
    return (
        f"The checkpoint {folder} is damaged or incomplete ({message}). Use another one: a run directory keeps the "
        f"last {_KEEP_LAST} under checkpoints/last and the best under checkpoints/best; move a damaged one away to "
        "resume from the other."
    )


def load(path: str | Path) -> Loaded:
    """Loads a learned optimizer: its static settings come from the checkpoint and are never retyped.

    Args:
        path: run directory, a checkpoint folder in it, a file that mode=export wrote, or the name of weights that ship
            with mulo (`mulo.weights.shipped()`).

    Raises:
        CheckpointError: missing or damaged.
    """
    import jax

    meta = read_meta(path)
    optimizer = meta.optimizer
    like = jax.eval_shape(optimizer.init, jax.random.key(0))
    return Loaded(optimizer, restore(meta, {"theta": like})["theta"], meta)


def restore(meta: Meta, like: Mapping[str, Any]) -> dict[str, Any]:
    """Reads array items shaped like the given trees, and checks their digests.

    Raises:
        CheckpointError: arrays are missing, of other shapes, or not what was written.
    """
    from mulo import trees

    of = checkpoint_arrays.of_file if meta.path.suffix == weights.SUFFIX else checkpoint_arrays.of_folder
    try:
        items = of(meta.path, like)
    except CheckpointError:
        raise
    except Exception as error:  # Orbax raises many kinds for damaged files
        checkpoint_arrays.silence_the_rest()
        raise CheckpointError(_damaged(meta.path, error)) from error
    for name in like:
        if trees.digest(items[name]) != meta.digests.get(name):
            raise CheckpointError(_damaged(meta.path, f"the arrays of {name} are not those that were written"))
    return {name: checkpoint_arrays.fresh(items[name]) for name in like}


def _storable(tree: Any) -> Any:
    """With several processes, arrays that each of them has whole are written by the leader, as NumPy arrays."""
    import jax
    import numpy as np

    if not distributed.several():
        return tree
    return jax.tree.map(lambda x: np.asarray(x) if getattr(x, "is_fully_addressable", True) else x, tree)


@contextmanager
def _reported_once() -> Iterator[None]:
    """While open, and after an error, Orbax's threads do not print what is raised as well."""
    hooks = sys.excepthook, sys.unraisablehook
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    checkpoint_arrays.silence_the_rest()
    yield
    sys.excepthook, sys.unraisablehook = hooks


class CheckpointWriter:
    """Writes the checkpoints of one run directory, having cleared what unfinished saves left; a context manager.

    Args:
        run_dir: where `checkpoints/` goes.
        optimizer: settings stored beside every θ.
        config: the run's resolved configuration.
    """

    def __init__(self, run_dir: Path, optimizer: Optimizer, config: Mapping[str, Any]) -> None:
        import orbax.checkpoint as ocp

        self._checkpoints = run_dir / "checkpoints"
        if distributed.leads():
            clear(self._checkpoints)
        distributed.wait_for_all()

        def manager(kind: str) -> Any:
            options = ocp.CheckpointManagerOptions(create=True, enable_async_checkpointing=False)
            return ocp.CheckpointManager(self._checkpoints.absolute() / kind, options=options)

        self._optimizer, self._config = optimizer, config
        self._last, self._best = manager("last"), manager("best")

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._last.close()
        self._best.close()

    def save(self, step: int, theta: "Theta", state: Any = None) -> None:
        """Writes a training checkpoint, or θ alone where there is no state; returns when it is on disk."""
        items = {"theta": theta} if state is None else {"theta": theta, "state": state}
        self._write(self._last, step, items, keep=_KEEP_LAST)

    def save_best(self, step: int, theta: "Theta") -> None:
        """Writes θ and its settings alone, replacing the best so far."""
        self._write(self._best, step, {"theta": theta}, keep=1)

    def _write(self, manager: Any, step: int, items: Mapping[str, Any], keep: int) -> None:
        import orbax.checkpoint as ocp

        if step in manager.all_steps():
            return
        arrays = {name: ocp.args.StandardSave(_storable(tree)) for name, tree in items.items()}
        args = ocp.args.Composite(**arrays, meta=ocp.args.JsonSave(self._meta(step, items)))
        try:
            with _reported_once():
                manager.save(step, args=args, force=True)
                manager.wait_until_finished()
            if distributed.leads():
                self._seal(self._folder(manager) / str(step))
                keep_last(self._folder(manager), keep)
        except Exception:
            with suppress(OSError):  # room is made again; what is left the next start clears
                clear(self._checkpoints)
            raise

    def _seal(self, folder: Path) -> None:
        with replacing(folder / CHECKSUMS) as partial:
            partial.write_text(json.dumps(checksums(folder), indent=1), encoding="utf-8")

    @staticmethod
    def _folder(manager: Any) -> Path:
        return Path(manager.directory)

    def _meta(self, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
        from mulo import trees
        from mulo.config import to_dict

        return {
            "format": FORMAT,
            "mulo_version": __version__,
            "optimizer": to_dict(self._optimizer),
            "step": step,
            "checksums": CHECKSUMS,
            "config": dict(self._config),
            "digests": {name: trees.digest(tree) for name, tree in items.items()},
        }
