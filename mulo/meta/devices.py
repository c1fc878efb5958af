"""Where particles live: a mesh of devices along one axis, each holding whole pairs.

Trainings are shared out among the devices. Everything else (θ, ξ, ages, losses once they are gathered) is kept on one
device of each process, where the same programs run whatever the mesh: the number of devices
enters results only through how XLA compiles a batch of another size.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "particles"
SPLIT, WHOLE = PartitionSpec(AXIS), PartitionSpec()


def particle_mesh(pairs: int, devices: int | None = None) -> Mesh:
    """As many of the devices there are (or of the first `devices`) as the pairs can be shared out among evenly."""
    there = jax.devices()[:devices]
    count = next(n for n in range(min(len(there), pairs), 0, -1) if pairs % n == 0)
    return jax.make_mesh((count,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=there[:count])


def replicate(mesh: Mesh, tree: Any) -> Any:
    """The same arrays on every device."""
    return jax.device_put(tree, NamedSharding(mesh, WHOLE))


def split(mesh: Mesh, tree: Any) -> Any:
    """Arrays shared out along their leading axis."""
    return jax.device_put(tree, NamedSharding(mesh, SPLIT))


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Whole arrays on this process's first device, out of arrays that are shared out; the host does not wait."""
    return jax.tree.map(lambda x: x.addressable_data(0), replicate(mesh, tree))
