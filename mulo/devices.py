"""Arrays on a mesh of devices; the mesh of meta-training has one axis, and each device holds whole pairs of particles.

Trainings are shared out among the devices of all processes. Everything else (θ, ξ, ages, losses once they are gathered)
is kept on one device of each process, where the same programs run whatever the mesh: the number of devices
enters results only through how XLA compiles a batch of another size.
"""

from functools import cache, partial
from threading import Lock
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mulo import distributed
from mulo.errors import ConfigError
from mulo.types import Task

AXIS = "particles"
SPLIT, WHOLE = PartitionSpec(AXIS), PartitionSpec()


def particle_mesh(pairs: int, devices: int | None = None, key: str = "recipe.pairs") -> Mesh:
    """The most devices, of all or of the first `devices`, among which the pairs can be shared out evenly.

    `key` is the setting that says how many there are.

    Raises:
        ConfigError: several processes whose devices the pairs cannot be shared out among: some would have none.
    """
    available = jax.devices()[:devices]
    count = next(n for n in range(min(len(available), pairs), 0, -1) if pairs % n == 0)
    if distributed.several() and count < len(available):
        raise ConfigError.value(key, pairs, f"a multiple of the {len(available)} devices of all processes")
    return jax.make_mesh((count,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=available[:count])


def shared_out(mesh: Mesh, f: Any, *specs: PartitionSpec) -> Any:
    """`f` on each device's part of its arguments, its results split; on a single device `f` itself."""
    if _single(mesh):
        return f
    return jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=SPLIT, check_vma=False)


def _single(mesh: Mesh) -> bool:
    return mesh.size == 1 and not distributed.several()


def replicate(mesh: Mesh, tree: Any) -> Any:
    """The same arrays on every device."""
    return _laid_out(mesh, tree, WHOLE)


class LaidOut:
    """Tasks' data on every device of a mesh: one copy for the tasks that share them, made anew when the data change."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh, self._lock = mesh, Lock()
        self._current: dict[str, tuple[Any, Any]] = {}

    def __call__(self, task: Task, position: int) -> Any:
        """`task.data_at(position)`, laid out; the data of the task's earlier position are released."""
        with self._lock:
            data = task.data_at(position)
            known = next((copy for source, copy in self._current.values() if source is data), None)
            copy = replicate(self._mesh, data) if known is None else known
            self._current[task.name] = (data, copy)
            return copy


def split(mesh: Mesh, tree: Any) -> Any:
    """Arrays shared out along their leading axis."""
    return _laid_out(mesh, tree, SPLIT)


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Whole arrays on this process's first device, out of arrays that are shared out; the host does not wait."""
    return jax.tree.map(lambda x: x.addressable_data(0), replicate(mesh, tree))


def local(mesh: Mesh, tree: Any) -> Any:
    """Whole arrays on this process's first device, out of arrays that every process has whole."""
    return jax.device_put(jax.tree.map(_addressable, tree), mesh.local_devices[0])


def _addressable(array: Any) -> Any:
    return array if not isinstance(array, jax.Array) or array.is_fully_addressable else array.addressable_data(0)


def _laid_out(mesh: Mesh, tree: Any, spec: PartitionSpec) -> Any:
    if _single(mesh):
        return jax.tree.map(partial(_on, mesh.local_devices[0]), tree)
    sharding = NamedSharding(mesh, spec)
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: _over_processes(x, sharding), tree)


def _on(device: jax.Device, array: Any) -> Any:
    """Nearly all arrays are there already, and checking costs less than `device_put`."""
    is_there = isinstance(array, jax.Array) and array.committed and array.devices() == {device}
    return array if is_there else jax.device_put(array, device)


def _over_processes(array: Any, sharding: NamedSharding) -> Any:
    """From an array that every process has whole, or that is laid out over all of them in another way."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return _moved(sharding)(array)
    if isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        words = _over_processes(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(array))
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@cache
def _moved(sharding: NamedSharding) -> Any:
    return jax.jit(lambda x: x, out_shardings=sharding)
