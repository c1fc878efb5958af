"""The update compiled ahead of time for a TPU, by tile size: scratch and traffic per parameter. Nothing runs.

Needs libtpu (`pip install .[tpu]`) and no TPU. `python -m benchmarks tpu_program`
"""

import os
from typing import Any

import jax

from benchmarks import record
from benchmarks.contestant import in_place, network
from benchmarks.record import Row
from benchmarks.straightforward import traced_as
from benchmarks.update import LEARNED, update_of
from mulo.optimizers import per_parameter_mlp

TOPOLOGY, WIDTH = "v5e:2x2", 1024
TILES = (2**14, 2**17, 2**20)


def device() -> Any:
    """One chip of a topology that is only described."""
    from jax.experimental import topologies

    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    return topologies.get_topology_desc(TOPOLOGY, "tpu").devices[0]


def compiled(config: Any, tile: int, chip: Any) -> Row:
    """One row: memory and traffic as the compiler states them; loops are counted once in its traffic."""
    params = jax.eval_shape(lambda: network(WIDTH))
    step, begin = update_of(config)
    there = jax.sharding.SingleDeviceSharding(chip)
    state, gradients = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there), (jax.eval_shape(begin, params), params)
    )
    own = per_parameter_mlp._tile_size
    per_parameter_mlp._tile_size = lambda: tile
    try:
        with traced_as("jax"):
            program = in_place(step, state, gradients).compile()
    finally:
        per_parameter_mlp._tile_size = own
    count = sum(x.size for x in jax.tree.leaves(params))
    return {
        "architecture": config.architecture,
        "form": f"tiles of {tile:,}",
        "hidden": config.hidden_size,
        "width": WIDTH,
        "parameters": count,
        "scratch_bytes_per_parameter": program.memory_analysis().temp_size_in_bytes / count,
        "traffic_bytes_per_parameter": program.cost_analysis()["bytes accessed"] / count,
    }


def main() -> None:
    """All learned optimizers; tile sizes where tiles are used."""
    chip, rows = device(), []
    for config in LEARNED:
        tiled = config.hidden_size > per_parameter_mlp.FUSED_HIDDEN
        rows += [compiled(config, tile, chip) for tile in (TILES if tiled else (per_parameter_mlp.ACCELERATOR_TILE,))]
    record.put("tpu_program", rows)


if __name__ == "__main__":
    main()
