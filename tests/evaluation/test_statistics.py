"""Against numbers by hand, scipy's own bootstrap and rankdata, and simulated data of known mean."""

import math

import numpy as np
import pytest
from scipy import stats

from mulo.evaluation import statistics
from mulo.evaluation.statistics import difference_interval, mean_interval, ranks, resampled, speedup, spread

INF = math.inf


def test_the_spread_is_of_medians_and_counts_what_exploded():
    """By hand: of 1 2 3 4 6 7 ∞ ∞ the quartiles are between 2 and 3, 4 and 6, 7 and ∞; 7 is above its start of 5."""
    result = spread([7.0, 1.0, math.nan, 3.0, 2.0, INF, 4.0, 6.0], [5.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, math.nan])
    assert result == (5.0, 2.5, INF, 8, 3)


def test_the_spread_of_few_trainings_is_what_they_tell():
    assert spread([3.0, 1.0, 2.0], [9.0] * 3) == (2.0, 1.0, 3.0, 3, 0)
    assert spread([1.0, INF], [9.0] * 2)[0] == INF
    lone = spread([1.5], [1.0])
    assert (lone.median, lone.seeds, lone.exploded) == (1.5, 1, 1)
    assert math.isnan(lone.low)
    none = spread([], [])
    assert math.isnan(none.median)
    assert none.seeds == 0


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_quartiles_are_those_of_scipys_empirical_distribution(count):
    """Smallest values at or below which a quarter, half, three quarters lie; between two where that is exact."""
    values = np.random.default_rng(count).normal(size=count)
    steps = stats.ecdf(values).cdf
    for share, result in zip((0.25, 0.5, 0.75), statistics.quartiles(values), strict=True):
        first = np.flatnonzero(steps.probabilities >= share - 1e-9)[0]
        exact = abs(steps.probabilities[first] - share) < 1e-9
        assert result == pytest.approx(steps.quantiles[first : first + 1 + exact].mean())


def test_meta_seeds_are_drawn_whole_and_the_same_in_all_places():
    jobs = np.arange(3.0)[None, :, None] * 100 + np.arange(2.0)[:, None, None] * 10 + np.arange(4.0)
    drawn = resampled(jobs, np.random.default_rng(0), draws=200)
    assert drawn.shape == (200, 2, 3, 4)
    job, condition, seed = drawn // 100, drawn // 10 % 10, drawn % 10
    assert (job == job[:, :1, :, :1]).all()
    assert (condition == np.array([0, 1])[:, None, None]).all()
    assert set(np.unique(seed)) == {0, 1, 2, 3}
    assert len(np.unique(seed, axis=0)) > 190


def test_with_many_meta_seeds_the_interval_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(5).gamma(2.0, size=400)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    interval = mean_interval(values.reshape(1, 400, 1))
    width = theirs.high - theirs.low
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert interval.high == pytest.approx(theirs.high, abs=0.06 * width)


@pytest.mark.parametrize(("jobs", "seeds"), [(3, 3), (5, 1), (1, 5)])
def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says(jobs, seeds):
    generator = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        of_jobs = generator.normal(0.0, 1.0 if jobs > 1 else 0.0, (1, jobs, 1))
        interval = mean_interval(7 + of_jobs + generator.normal(0.0, 0.5, (1, jobs, seeds)), seed=trial)
        hits += interval.low <= 7 <= interval.high
    # Of 300 at 95%, 12 are three standard errors; few units make percentiles coarse.
    assert 0.90 <= hits / 300 <= 0.99


def test_the_interval_of_a_difference_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    hits = 0
    for trial in range(300):
        ours, theirs = generator.normal(1.0, 1.0, (1, 4, 1)), generator.normal(3.0, 0.3, (1, 3, 1))
        interval = difference_interval(ours, theirs, seed=trial)
        hits += interval.low <= -2 <= interval.high
    assert 0.90 <= hits / 300 <= 0.99


def test_a_difference_is_averaged_over_conditions_and_leaves_out_what_diverged():
    ours = np.array([[[1.0, 2.0], [3.0, INF]], [[5.0, 5.0], [5.0, 5.0]]])  # (1.5 + 3)/2 = 2.25, and 5
    theirs = np.full((2, 2, 2), 4.0)
    assert difference_interval(ours, theirs).value == pytest.approx((2.25 + 5) / 2 - 4)


def test_one_seed_tells_no_spread():
    interval = difference_interval(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    assert interval.value == 1
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_intervals_are_the_same_every_time():
    losses = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert mean_interval(losses) == mean_interval(losses)
    assert ranks({"a": losses, "b": losses + 0.1}) == ranks({"a": losses, "b": losses + 0.1})


def test_ranks_are_rankdatas_with_divergence_last_and_ties_shared():
    means = {"a": [1.0, 3.0], "b": [2.0, 1.0], "c": [2.0, INF], "d": [INF, INF]}
    ranked = ranks({name: np.array(values)[:, None, None] * np.ones((2, 2, 2)) for name, values in means.items()})
    by_hand = {"a": (1 + 2) / 2, "b": (2.5 + 1) / 2, "c": (2.5 + 3.5) / 2, "d": (4 + 3.5) / 2}
    assert {name: rank.value for name, rank in ranked.items()} == by_hand
    table = np.array(list(means.values()))
    theirs = stats.rankdata(table, axis=0).mean(axis=1)
    assert [rank.value for rank in ranked.values()] == list(theirs)
    assert all(rank.low == rank.value == rank.high for rank in ranked.values())


def test_one_diverged_seed_of_many_ranks_last_although_the_others_are_best():
    ours = np.full((1, 3, 2), 0.1)
    ours[0, 0, 0] = INF
    ranked = ranks({"ours": ours, "theirs": np.ones((1, 3, 2))})
    assert ranked["ours"].value == 2
    assert ranked["ours"].low == 1  # in some samples the diverged one is not drawn


def test_intervals_of_ranks_hold_where_contestants_differ_by_less_than_their_noise():
    generator = np.random.default_rng(1)
    noisy = {name: generator.normal(size=(3, 4, 3)) for name in "ab"}
    ranked = ranks(noisy)
    assert ranked["a"].value + ranked["b"].value == 3
    assert ranked["a"].low < 1.5 < ranked["a"].high
    single = ranks({name: losses[:, :1, :1] for name, losses in noisy.items()})
    assert math.isnan(single["a"].low)


def test_speedup_is_the_ratio_of_the_steps_to_the_references_last_loss():
    steps = np.array([1, 50, 100, 150, 200])
    reference = np.array([5.0, 4.0, 3.0, 2.5, 2.0])
    assert speedup(steps, np.array([5.0, 2.0, 1.9, 1.8, 1.7]), reference) == 4.0
    assert speedup(steps, reference, reference) == 1.0
    assert speedup(steps, reference + 0.1, reference) is None
    assert speedup(steps, np.array([5.0, 3.0, np.nan, np.nan, np.nan]), reference) is None
    assert speedup(steps, reference, np.append(reference[:-1], np.nan)) is None


def test_the_interval_is_wider_the_fewer_units_there_are():
    wide = statistics._widening(2)
    assert wide == pytest.approx(4.302653 / 1.959964, rel=1e-5)  # from a table of Student's t
