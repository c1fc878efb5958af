"""Reference trajectories: replays a file of a training by other code step by step and measures the agreement.

A file is an npz with `theta/<Haiku path>`, `params/<name>`, `grads/<t>/<name>`, `losses`, `multiplier/<name>`,
`config/<setting>` and `expected/<t>/<name>`, the parameters after step t. Agreement on a tensor's update Δ means
‖Δ − Δref‖ ≤ 1e-3·‖Δref‖ + 2·‖ulp(p)‖, both taken along their own trajectories.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mulo.errors import ReferenceFileError
from mulo.exchange.haiku import read_haiku
from mulo.exchange.reference_file import read_config, read_groups
from mulo.optimizers import PerParameterMLP
from mulo.types import Theta

RELATIVE_TOLERANCE = 1e-3
ULP_TOLERANCE = 2.0


class Reference(NamedTuple):
    """A trajectory of `steps` steps over tensors named in `params`."""

    config: PerParameterMLP
    theta: Theta
    num_steps: int
    params: Mapping[str, np.ndarray]
    gradients: list[dict[str, np.ndarray]]
    losses: np.ndarray
    multipliers: dict[str, float]
    expected: list[dict[str, np.ndarray]]


def read_theta(path: str | Path) -> Theta:
    """θ alone, of a file that need not hold a trajectory; raises ReferenceFileError as `read_reference` does."""
    groups = read_groups(path)
    if "theta" not in groups:
        raise ReferenceFileError(f"{path} holds no θ: its arrays are read under theta/<Haiku name>.")
    return read_haiku(groups["theta"], read_config(groups, path))


def read_reference(path: str | Path) -> Reference:
    """Reads a reference file; raises ReferenceFileError where it is missing, damaged or of an unknown architecture."""
    groups = read_groups(path)
    config = read_config(groups, path)
    try:
        losses = np.asarray(groups["losses"][""])
        steps = range(len(losses))
        return Reference(
            config=config,
            theta=read_haiku(groups["theta"], config),
            num_steps=int(groups["config"].get("num_steps", len(losses))),
            params=groups["params"],
            gradients=[_at(groups["grads"], t, groups["params"]) for t in steps],
            losses=losses,
            multipliers={name: float(c) for name, c in groups["multiplier"].items()},
            expected=[_at(groups["expected"], t, groups["params"]) for t in steps],
        )
    except KeyError as error:
        raise ReferenceFileError(f"{path} is an incomplete reference file: {error.args[0]} is missing.") from error


def _at(group: Mapping[str, np.ndarray], step: int, names: Iterable[str]) -> dict[str, np.ndarray]:
    return {name: group[f"{step}/{name}"] for name in names}


def replay(reference: Reference) -> dict[str, float]:
    """Largest error of each tensor over all steps, as a multiple of the tolerance; at most 1 is agreement."""
    optimizer = reference.config
    transform = optimizer.transform(reference.theta, reference.num_steps, reference.multipliers)
    params: Any = _single(reference.params)
    state = transform.init(params)
    before, worst = reference.params, dict.fromkeys(reference.params, 0.0)
    update = jax.jit(transform.update)
    for gradients, loss, after in zip(reference.gradients, reference.losses, reference.expected, strict=True):
        updates, state = update(_single(gradients), state, params, value=_single(loss))
        new_params = optax.apply_updates(params, updates)
        for name in worst:
            error = _error(np.asarray(params[name]), np.asarray(new_params[name]), before[name], after[name])
            worst[name] = max(worst[name], error)
        params, before = new_params, after
    return worst


def _single(tree: Any) -> Any:
    """In single precision, as mulo computes, whatever the file has."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def _error(p: np.ndarray, new_p: np.ndarray, p_ref: np.ndarray, new_ref: np.ndarray) -> float:
    """The error of one update, in double precision; not finite where either trajectory is not."""
    update, reference = new_p.astype(np.float64) - p, new_ref.astype(np.float64) - p_ref
    ulps = np.linalg.norm(np.spacing(np.abs(p_ref)))
    tolerance = RELATIVE_TOLERANCE * np.linalg.norm(reference) + ULP_TOLERANCE * ulps
    error = float(np.linalg.norm(update - reference) / tolerance)
    return error if np.isfinite(error) else float("inf")
