"""Statistics over the two levels of an evaluation: meta-seeds (jobs), and in each the seeds of its trainings.

A seed that diverged has an infinite loss here. Medians and ranks count the infinite loss itself, so that it is never
averaged away; means are over the finite ones, with the number of others beside them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

DRAWS = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A number with its 95% confidence interval; both ends are nan where the spread is unknown."""

    value: float
    low: float
    high: float


class Spread(NamedTuple):
    """Losses of one method on one network, over all its trainings: meta-seeds × seeds."""

    median: float
    """inf where half of them or more diverged; nan where there is none."""
    low: float
    """The lower quartile; nan where there are fewer than two."""
    high: float
    """The upper quartile, inf where more than a quarter diverged."""
    seeds: int
    exploded: int
    """Losses that are not finite, or above those that their trainings began with."""


def spread(losses: Sequence[float], starts: Sequence[float]) -> Spread:
    """Median and quartiles of losses, and how many exploded.

    Args:
        losses: not finite where a training diverged, which counts as infinite.
        starts: the losses before the first step, in the same order; nan where unknown.
    """
    values = np.where(np.isfinite(losses), losses, math.inf)
    exploded = int(np.sum(~np.isfinite(values) | (values > np.asarray(starts, float))))
    if not values.size:
        return Spread(math.nan, math.nan, math.nan, 0, 0)
    low, median, high = map(float, quartiles(values))
    if values.size == 1:
        low = high = math.nan
    return Spread(median, low, high, values.size, exploded)


def quartiles(values: np.ndarray) -> np.ndarray:
    """Quartiles and median [3, …] along the first axis [n, …]; infinite values take part as the largest.

    They are halfway between neighbours where the distribution function steps there (NumPy's averaged_inverted_cdf).
    """
    last = np.finfo(np.float64).max / 4
    cut = np.quantile(np.minimum(values, last), [0.25, 0.5, 0.75], axis=0, method="averaged_inverted_cdf")
    return np.where(cut < last / 4, cut, math.inf)


def resampled(losses: np.ndarray, generator: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Losses as they might have been: meta-seeds are drawn with replacement, and seeds within each.

    Args:
        losses: [conditions, meta-seeds, seeds]; a drawn meta-seed is the same under all, seeds are drawn anew
            under each, because other networks have other initializations.
        generator: of NumPy.
        draws: how many samples of the same size.

    Returns:
        [draws, conditions, meta-seeds, seeds]
    """
    conditions, jobs, seeds = losses.shape
    job = generator.integers(jobs, size=(draws, 1, jobs, 1))
    seed = generator.integers(seeds, size=(draws, conditions, jobs, seeds))
    return losses[np.arange(conditions)[None, :, None, None], job, seed]


def mean_interval(losses: np.ndarray, seed: int = 0) -> Interval:
    """Mean of finite losses [conditions, meta-seeds, seeds] over seeds, meta-seeds, conditions, and its interval."""
    center, drawn = _means(losses, np.random.default_rng(seed))
    return _interval(center, drawn, _widening(_units(losses) - 1))


def difference_interval(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> Interval:
    """Mean of `ours` − mean of `theirs`, each [conditions, meta-seeds, seeds], resampled independently."""
    generator = np.random.default_rng(seed)
    (our_mean, our_draws), (their_mean, their_draws) = _means(ours, generator), _means(theirs, generator)
    freedom = _welch(our_draws, their_draws, _units(ours) - 1, _units(theirs) - 1)
    return _interval(our_mean - their_mean, our_draws - their_draws, _widening(freedom))


def _units(losses: np.ndarray) -> int:
    """How many units are drawn independently: meta-seeds, or the seeds of a single meta-seed."""
    return losses.shape[1] if losses.shape[1] > 1 else losses.shape[2]


def _means(losses: np.ndarray, generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """The mean, and means of samples, as far from it as those of fresh data would be.

    n numbers drawn from n deviate too little, by √((n − 1)/n) (Efron and Tibshirani 1993, section 5.3).
    """
    finite = np.where(np.isfinite(losses), losses, np.nan)
    center, drawn = _mean(finite[None])[0], _mean(resampled(finite, generator))
    units = _units(losses)
    return float(center), center + (drawn - center) * math.sqrt(units / max(1, units - 1))


def _mean(losses: np.ndarray) -> np.ndarray:
    """Of [draws, conditions, meta-seeds, seeds]: finite seeds in meta-seeds in conditions; nan where one has none."""
    for _ in range(2):
        count = np.isfinite(losses).sum(axis=-1)
        losses = np.where(count > 0, np.nansum(losses, axis=-1) / np.maximum(count, 1), np.nan)
    return losses.mean(axis=-1)


def _welch(ours: np.ndarray, theirs: np.ndarray, freedom: int, freedom_of_theirs: int) -> float:
    """Degrees of freedom of a difference, by Welch and Satterthwaite; 0 where the spread of one side is unknown."""
    ours, theirs = ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]
    if min(freedom, freedom_of_theirs) < 1 or not (ours.size and theirs.size):
        return 0.0
    our_variance, their_variance = float(np.var(ours)), float(np.var(theirs))
    if not our_variance + their_variance > 0:
        return float(freedom + freedom_of_theirs)
    total = (our_variance + their_variance) ** 2
    return total / (our_variance**2 / freedom + their_variance**2 / freedom_of_theirs)


def _widening(freedom: float) -> float:
    """Student's quantile over the normal: percentiles of few units are too narrow (Hesterberg 2015, section 5.3)."""
    if freedom <= 0:
        return math.nan
    upper = (1 + CONFIDENCE) / 2
    return float(stats.t.ppf(upper, freedom) / stats.norm.ppf(upper))


def _interval(center: float, drawn: np.ndarray, widening: float) -> Interval:
    drawn = drawn[np.isfinite(drawn)]
    if not (drawn.size and math.isfinite(widening) and math.isfinite(center)):
        return Interval(center, math.nan, math.nan)
    ends = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = center + widening * (ends - center)
    return Interval(center, float(low), float(high))


def ranks(losses: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, Interval]:
    """Mean rank of each method over conditions, 1 the lowest mean loss; the interval is of percentiles.

    Args:
        losses: by method, [conditions, meta-seeds, seeds]; the same conditions for all. inf where a seed diverged: its
            method ranks last there, and equal losses share the mean of their ranks.
        seed: of the samples.
    """
    generator = np.random.default_rng(seed)
    whole = _mean_ranks([array.mean(axis=(-2, -1))[None] for array in losses.values()])[0]
    drawn = _mean_ranks([resampled(array, generator).mean(axis=(-2, -1)) for array in losses.values()])
    known = all(_units(array) > 1 for array in losses.values())
    ends = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    low, high = ends if known else np.full_like(ends, math.nan)
    intervals = zip(losses, whole, low, high, strict=True)
    return {name: Interval(float(value), float(a), float(b)) for name, value, a, b in intervals}


def _mean_ranks(means: Sequence[np.ndarray]) -> np.ndarray:
    """[draws, methods] from one [draws, conditions] per method."""
    return np.asarray(stats.rankdata(np.stack(means, axis=-1), axis=-1)).mean(axis=1)


def speedup(steps: np.ndarray, curve: np.ndarray, reference: np.ndarray) -> float | None:
    """How much sooner a curve [points] reaches the last loss of the reference's, both at these steps; None: never.

    Curves are means over seeds after smoothing, nan once a seed has diverged.
    """
    reached = np.flatnonzero(curve <= reference[-1]) if math.isfinite(reference[-1]) else np.array([], int)
    return float(steps[-1] / steps[reached[0]]) if reached.size else None
