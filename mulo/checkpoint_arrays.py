"""Arrays of checkpoints: read from an Orbax folder or portable weights, and made such as JAX makes them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulo import distributed


def of_folder(folder: Path, like: Mapping[str, Any]) -> Any:
    """Array items of a checkpoint's folder, shaped like the given trees; raises whatever Orbax does."""
    import jax
    import orbax.checkpoint as ocp

    wanted = jax.tree.map(_target, dict(like))
    args = ocp.args.Composite(**{name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()})
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        return reader.restore(folder.absolute(), args=args)


def of_file(file: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """θ of portable weights; raises CheckpointError where it is not that of these shapes."""
    from mulo.weights import arrays

    return {name: arrays.read(file, tree) for name, tree in like.items() if name == "theta"}


def fresh(tree: Any) -> Any:
    """Arrays as JAX makes them; as Orbax returns them they may refuse donation, and are committed to a device.

    From the host, an array goes where `jnp.ones` would go, and from there to whatever it is used beside.
    """
    import jax

    copied = jax.jit(lambda x: jax.numpy.copy(x))

    def one(array: Any) -> Any:
        spread = not array.is_fully_addressable
        return copied(array) if spread else jax.numpy.array(distributed.on_host(array), array.dtype)

    return jax.tree.map(one, tree)


def _target(like: Any) -> Any:
    """What Orbax is to make of a stored array: one on this process's first device, or laid out over the processes."""
    import jax

    spread = isinstance(like, jax.Array) and not like.is_fully_addressable
    sharding = like.sharding if spread else jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(like.shape, like.dtype, sharding=sharding)


def silence_the_rest() -> None:
    """Where one array fails, others are under way: they end on a closed event loop, and would print tracebacks."""
    uncaught, unraisable = sys.excepthook, sys.unraisablehook

    def late(error: BaseException | None) -> bool:
        return isinstance(error, RuntimeError) and "Event loop is closed" in str(error)

    def on_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not late(error):
            uncaught(kind, error, trace)

    def on_unraisable(what: Any) -> None:
        if not late(what.exc_value):
            unraisable(what)

    sys.excepthook, sys.unraisablehook = on_uncaught, on_unraisable
