"""Compares one architecture on 1, 2 and 4 devices; run with four of them by test_model_devices, prints JSON."""

import json
import re
import sys
from functools import partial
from math import prod

import jax
import numpy as np

from mulo import trees
from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.devices import replicate
from mulo.evaluation.model_devices import OverDevices, model_mesh, placement
from mulo.optimizers import AdamW, Celo2, SmallFC, VeLO, per_parameter_mlp
from mulo.tasks import make_tasks
from mulo.unroll import start, unroll

OPTIONS = {"scale_free": True, "start": "adam", "step_sizes": True, "weight_decay": 0.1, "horizon_exponent": 0.5}
OPTIMIZERS = {
    "small_fc": SmallFC(hidden_size=9),
    "velo": VeLO(param_scale_mult=True, interp_mult=30.0),
    "celo2": Celo2(weight_decay=0.1),
    "celo2_orthogonal": Celo2(orthogonalize=True),
    "small_fc_options": SmallFC(hidden_size=9, normalize_step=True, time_features="relative", **OPTIONS),
    "velo_options": VeLO(normalize_step=True, schedule="warmup_cosine", **OPTIONS),
    "celo2_options": Celo2(time_features="relative", schedule="warmup_stable_decay", **OPTIONS),
    "mu_adam": AdamW(parametrization="mup", weight_decay=0.1),
}
SHAPES = [(8,), (8, 8), (9, 8), (16, 3), (5, 3), (12, 2, 3)]
"""Of these the vector and (5, 3) cannot be shared out among four."""
STEPS, SEEDS = 20, 2
TASK = make_tasks(
    MLPConfig(width=32, depth=2, batch_size=4, output_init="normal"),
    "mup",
    load(SyntheticDataConfig(shape=[16], classes=12)),
)[0]


def theta_of(optimizer):
    """θ with every weight away from its often zero start."""
    theta = optimizer.init(jax.random.key(0))
    if isinstance(optimizer, AdamW):
        return theta
    noise = trees.random_normal(jax.random.key(1), theta)
    return jax.tree.map(lambda x, e: x + 0.02 * e, theta, noise)


def over(devices, optimizer, theta):
    """The optimizer over so many devices, θ where it is to be, and the mesh."""
    mesh = model_mesh(devices)
    return (OverDevices(optimizer, mesh), replicate(mesh, theta), mesh) if mesh else (optimizer, theta, None)


def updates(jit, devices, optimizer, theta):
    """Updates and state after three gradients, of tensors of several ranks."""
    rng = np.random.default_rng(0)

    def draw(scale, steps=()):
        return {f"t{i}": np.float32(scale * rng.standard_normal((*steps, *shape))) for i, shape in enumerate(SHAPES)}

    params, gradients = draw(0.3), draw(0.1, (3,))
    if isinstance(optimizer, SmallFC):
        gradients["t1"][1, 0, 0] = np.nan
    optimizer, theta, _ = over(devices, optimizer, theta)
    transform = optimizer.transform(theta, STEPS, dict.fromkeys(params, 0.5))

    def step(state, batch):
        moved, state = transform.update(batch[0], state, params, value=batch[1])
        return state, moved

    run = jit(lambda *batch: jax.lax.scan(step, transform.init(params), batch))
    return jax.tree.map(np.asarray, run(gradients, np.array([2.0, 1.5, 1.7], np.float32)))


def largest(program, kind):
    """Entries of the largest array that a kind of communication between devices returns."""
    lines = [line.split(f" {kind}")[0] for line in program.splitlines() if re.search(rf" {kind}(-start)?\(", line)]
    sizes = [
        prod(map(int, filter(None, dims.split(",")))) for line in lines for dims in re.findall(r"\w\[([\d,]*)\]", line)
    ]
    return max(sizes, default=0)


def share(tree):
    """Bytes on the first device over bytes in all."""
    leaves = jax.tree.leaves(tree)
    return sum(x.addressable_shards[0].data.nbytes for x in leaves) / sum(x.nbytes for x in leaves)


def training(jit, devices, optimizer, theta):
    """Losses of a training [steps, seeds], its last share of memory per device, and its largest communications."""
    optimizer, theta, mesh = over(devices, optimizer, theta)
    begin = partial(start, TASK, optimizer, theta, STEPS)
    where = placement(mesh, jax.eval_shape(begin, jax.random.key(0))) if mesh else None
    state = jit(jax.vmap(begin), out_shardings=where)(jax.random.split(jax.random.key(2), SEEDS))

    def advance(state, keys):
        step = partial(unroll, TASK, optimizer, theta, length=STEPS, data=TASK.data)
        return jax.vmap(lambda s, k: step(s, keys=k[None]))(state, keys)

    compiled = (
        jit(advance, out_shardings=(where, None)).lower(state, jax.random.split(jax.random.key(3), SEEDS)).compile()
    )
    losses = []
    for i in range(STEPS):
        state, loss = compiled(state, jax.random.split(jax.random.key(i), SEEDS))
        losses.append(np.asarray(loss)[:, 0])
    program = compiled.as_text()
    return np.array(losses), share(state), largest(program, "all-gather"), largest(program, "all-reduce")


def apart(first, second):
    """The largest relative difference of two leaves, in the 2-norm."""

    def of(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))

    assert jax.tree.structure(first) == jax.tree.structure(second)
    return max(jax.tree.leaves(jax.tree.map(of, first, second)))


def main(name, options):
    """Compares the devices; `options` are the compiler's."""
    per_parameter_mlp.TILE = 7
    jit = partial(jax.jit, compiler_options=options)
    optimizer = OPTIMIZERS[name]
    theta = jit(partial(theta_of, optimizer))()
    alone, four = (updates(jit, devices, optimizer, theta) for devices in (1, 4))
    results = {"updates": apart(four, alone)}
    runs = {devices: training(jit, devices, optimizer, theta) for devices in (1, 2, 4)}
    first = runs[1][0]
    for devices, (losses, *rest) in runs.items():
        results[devices] = dict(zip(("share", "gathered", "reduced"), rest, strict=True))
        results[devices]["losses"] = float(np.max(np.abs(losses / first - 1)))
    moved = np.max(np.abs(first[-1] / first[0] - 1))
    print(json.dumps(results | {"moved": float(moved)}))


if __name__ == "__main__":
    assert jax.device_count() == 4
    main(sys.argv[1], json.loads(sys.argv[2]))
