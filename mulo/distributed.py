"""Several processes that run one job: who they are, which one writes, and what they agree on.

Processes find each other through SLURM (`srun`), Open MPI, or the variables `JAX_COORDINATOR_ADDRESS`,
`JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`. The leader is process 0: it alone writes logs, pictures and tables.
"""

import os
from contextlib import suppress
from typing import Any

from mulo.errors import ConfigError

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_RANKS = ("JAX_PROCESS_ID", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "TPU_WORKER_ID")
"""Variables in which launchers set a process's rank; the first that is set counts, as in JAX."""
_HEARTBEAT_SECONDS = 10
"""After which a lost process is noticed; JAX's default is a hundred."""


def join(choice: str) -> None:
    """Connects this process with the others of its job, if there are any; call it before JAX is used.

    Args:
        choice: `auto` (where the environment names several processes), `always`, or `never`.

    Raises:
        ConfigError: the environment is incomplete, or the other processes cannot be reached.
    """
    if choice == "never" or (choice == "auto" and not _names_several()):
        return
    import jax

    arguments = _from_variables()
    try:
        jax.distributed.initialize(**arguments, heartbeat_timeout_seconds=_HEARTBEAT_SECONDS)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"distributed={choice}: the processes of this job did not find each other ({str(error).splitlines()[0]}). "
            f"Start one job at a time (no -m) with srun or mpirun, or set {', '.join(_VARIABLES)}; "
            "distributed=never runs this process alone."
        ) from error


def _names_several() -> bool:
    slurm = os.environ.get("SLURM_NTASKS", "1") if "SLURM_STEP_NODELIST" in os.environ else "1"
    counts = (slurm, os.environ.get("OMPI_COMM_WORLD_SIZE", "1"), os.environ.get("JAX_NUM_PROCESSES", "1"))
    return any(count.strip() != "1" for count in counts)


def _from_variables() -> dict[str, Any]:
    """Arguments of `jax.distributed.initialize`; JAX gets missing ones from the launcher."""
    values = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    if not values or set(values) == {_VARIABLES[0]}:
        return {}
    if missing := [name for name in _VARIABLES if name not in values]:
        raise ConfigError(f"{', '.join(values)} is set and {', '.join(missing)} is not: set all three or none.")
    address, *numbers = (values[name] for name in _VARIABLES)
    if not all(number.isdigit() for number in numbers) or not int(numbers[1]) < int(numbers[0]):
        text = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ConfigError(f"{text}: the process id must be a number from 0 to the number of processes less one.")
    return {"coordinator_address": address, "num_processes": int(numbers[0]), "process_id": int(numbers[1])}


def will_lead(choice: str) -> bool:
    """Whether this process is to write, as its environment shows before the processes have met.

    False under `always` where the environment shows no rank: then the leader is unknown.
    """
    if choice == "never" or (choice == "auto" and not _names_several()):
        return True
    ranks = [os.environ[name] for name in _RANKS if name in os.environ]
    return ranks[:1] == ["0"]


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_all_cores() -> None:
    """Makes every CPU core a JAX device, for particles to be shared out among; call it before JAX is used.

    Small networks leave cores idle when one device holds all of them. `JAX_NUM_CPU_DEVICES` decides otherwise, and
    of several processes each is one device.
    """
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ and not jax.distributed.is_initialized():
        with suppress(RuntimeError):  # JAX is in use already, with its devices
            jax.config.update("jax_num_cpu_devices", cores())


def leave() -> None:
    """Disconnects from the other processes once all have called it: they may end, and this one continues alone."""
    import jax

    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def several() -> bool:
    """Whether more than one process takes part."""
    import jax

    return jax.process_count() > 1


def leads() -> bool:
    """Whether this process is the leader, which writes."""
    import jax

    return jax.process_index() == 0


def anyone(value: bool) -> bool:
    """Whether the value is true in any process; all must call it. Stops are agreed on this way, after the same step."""
    if not several():
        return value
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(value))))


def wait_for_all() -> None:
    """Returns once every process has called it."""
    anyone(False)


def on_host(array: Any) -> Any:
    """The whole of an array as a NumPy array, its parts fetched from the other processes; all must call it."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)
