"""One optimizee spread over several devices: its parameters and the optimizer's state, tensor by tensor.

The forward and backward pass is left to XLA's partitioner. The update runs inside `jax.shard_map`, each device on its
parts: the partitioner would gather whole tensors for the loops over tiles.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mulo import sharding
from mulo.errors import ConfigError
from mulo.types import Array, LearnedOptimizer, Multipliers, Params, Theta
from mulo.unroll import Training

WHOLE = PartitionSpec()


def model_mesh(count: int) -> Mesh | None:
    """The first `count` devices of this process; None for one, which needs no mesh.

    Raises:
        ConfigError: the process has fewer.
    """
    if count == 1:
        return None
    devices = jax.local_devices()
    if count > len(devices):
        raise ConfigError.value(
            "evaluation.model_devices",
            count,
            f"at most the number of devices, {len(devices)} ({devices[0].platform})",
            f"On CPUs the environment variable JAX_NUM_CPU_DEVICES={count} provides as many.",
        )
    return jax.make_mesh((count,), (sharding.AXIS,), (jax.sharding.AxisType.Auto,), devices=devices[:count])


def placement(mesh: Mesh, training: Training) -> Training:
    """Where every array of a batch of trainings lives, as NamedShardings; the batch itself is not shared out.

    Args:
        mesh: the devices.
        training: one of them, without the batch's axis; shapes are enough.
    """
    specs = sharding.specs(training, sharding.layout(training.params, mesh.size))
    return jax.tree.map(lambda spec: NamedSharding(mesh, PartitionSpec(None, *spec)), specs)


@dataclass(frozen=True)
class OverDevices:
    """An optimizer whose update each device of a mesh computes for its parts of the tensors."""

    optimizer: LearnedOptimizer
    mesh: Mesh

    def __getattr__(self, name: str) -> Any:
        """All else is the optimizer's own: θ is whole on every device."""
        return getattr(self.optimizer, name)

    def transform(
        self, theta: Theta, num_steps: Array | int, multipliers: Multipliers
    ) -> optax.GradientTransformationExtraArgs:
        """As the optimizer's, on whole arrays and under `jit`; `update` needs `value=loss`."""

        def update_fn(updates: Any, state: Any, params: Params, *, value: Array, **extra: Any) -> tuple[Any, Any]:
            del extra
            shards = sharding.layout(params, self.mesh.size)
            split = partial(sharding.specs, shards=shards)

            def local(theta: Theta, num_steps: Array | int, value: Array, *parts: Any) -> tuple[Any, Any]:
                transform = self.optimizer.transform(theta, num_steps, multipliers)
                return transform.update(*parts, value=value, shards=shards)

            inputs = (WHOLE, WHOLE, WHOLE, split(updates), split(state), split(params))
            mapped = jax.shard_map(local, mesh=self.mesh, in_specs=inputs, out_specs=(split(updates), split(state)))
            return mapped(theta, num_steps, value, updates, state, params)

        whole = self.optimizer.transform(theta, num_steps, multipliers)
        return optax.GradientTransformationExtraArgs(whole.init, update_fn)
