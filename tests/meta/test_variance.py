"""The variance of a particle's estimate, where losses are exact: what holding one ε over an unroll is for.

For small σ losses are linear in ε: L_k = Σ_j J_kj·ε_j for truncation k. With one ε of d entries the estimate is
ε(G·ε)/σ², G the gradient, of variance (d + 1)‖G‖² however the unroll is cut. That of PES follows from J by drawing.
"""

import numpy as np
import pytest

from .quadratic import THETA, Quadratic, estimator, expected_losses, flat, history

pytestmark = pytest.mark.slow
TASK = Quadratic(noise=0.0, spread=0.0)
LENGTH, PAIRS, REPETITIONS = 20, 128, 64
SAME = np.tile(flat(THETA).astype(float), (LENGTH, 1))


def slopes(truncation):
    """J [truncation of the loss, truncation of θ, 3] by central differences of the exact losses."""
    moves = 1e-5 * np.eye(SAME.size).reshape(SAME.size, *SAME.shape)
    rise = expected_losses(TASK, SAME + moves, LENGTH) - expected_losses(TASK, SAME - moves, LENGTH)
    count = LENGTH // truncation
    per_step = rise.T.reshape(count, truncation, count, truncation, 3) / 2e-5
    return per_step.mean(axis=1).sum(axis=2)


EXACT = slopes(LENGTH)[0, 0]
ONE_EPSILON = 4 * np.sum(EXACT**2)
"""(d + 1)‖G‖²: θ has three entries."""


def of_pes(truncation):
    """Drawn with numpy: ξ_k = Σ_{j ≤ k} ε_j, estimate Σ_k ξ_k·L_k over the number of truncations."""
    epsilon = np.random.default_rng(0).standard_normal((50_000, LENGTH // truncation, 3))
    losses = np.einsum("kjd,sjd->sk", slopes(truncation), epsilon)
    estimates = np.einsum("sk,skd->sd", losses, np.cumsum(epsilon, axis=1)) * truncation / LENGTH
    return np.var(estimates, axis=0).sum()


def measured(name, truncation):
    """Variance of one particle's estimate, averaged over an unroll."""
    made = estimator(
        TASK, estimator=name, truncation=truncation, min_length=LENGTH, max_length=LENGTH, start_offset=0, pairs=PAIRS
    )  # fmt: skip
    count = LENGTH // truncation
    steps = np.stack([flat(estimate.gradient) for _, estimate in history(made, count * REPETITIONS)])
    return PAIRS * np.var(steps.reshape(REPETITIONS, count, 3).mean(axis=1), axis=0, ddof=1).sum()


@pytest.mark.parametrize("truncation", [10, 2])
def test_with_one_epsilon_it_does_not_depend_on_the_truncation(truncation):
    assert measured("es_single", truncation) == pytest.approx(ONE_EPSILON, rel=0.3)


def test_under_pes_it_grows_with_the_number_of_truncations():
    assert measured("pes", 2) == pytest.approx(of_pes(2), rel=0.3)
    assert of_pes(2) > 2 * ONE_EPSILON
