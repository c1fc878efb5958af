"""What a record concludes: verdicts on claims, ranks and speedups, from sweep directories that were written by hand."""

import math
from dataclasses import replace

import pytest

from mulo.config import ClaimConfig
from mulo.jobs.gather import gather
from mulo.jobs.job_folders import jobs_of
from mulo.reporting.record import comparisons, verdicts
from tests.reporting import sweep_directory as sweep


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    return gather(jobs_of(sweep.write_sweep(tmp_path_factory.mktemp("sweep") / "jobs", sweep.separated)))


def claimed(gathered, **more):
    claim = {"text": "x", "better": "µLO_M", "than": "AdamW", "at": {"width": "largest"}} | more
    return replace(gathered, sweep=replace(gathered.sweep, claims=[ClaimConfig(**claim)]))


def outcome(gathered, **more):
    (verdict,) = verdicts.verdicts(claimed(gathered, **more))
    return verdict


def test_a_claim_holds_or_not_or_is_undecided(gathered):
    verdict = outcome(gathered)
    assert verdict.outcome == "holds"
    # .414 − .714, at the largest width alone; both have meta-seeds .01 apart.
    assert "µLO_M 0.414 (3 × 3 seeds, 0 of 9 diverged), AdamW 0.714" in verdict.because
    assert "difference −0.3, 95% interval" in verdict.because
    assert outcome(gathered, better="AdamW", than="µLO_M").outcome == "does not hold"
    noise = gathered.results.seed.map([0.2, 0.9, 0.5].__getitem__) + 0.01 * (gathered.results.method == "AdamW")
    noisy = sweep.changed(gathered, "train", noise, lambda rows: rows.seed >= 0)
    assert outcome(noisy).outcome == "undecided"


def test_claims_select_by_column_and_by_the_size(gathered):
    assert "0.314" in outcome(gathered, at={"width": "smallest"}).because
    assert "0.314" in outcome(gathered, at={"width": 16}).because
    both = outcome(gathered, at={})
    assert "µLO_M 0.364 (3 × 3 seeds in 2 conditions, 0 of 18 diverged)" in both.because
    assert outcome(gathered, at={"height": 3}).outcome == "undecided"
    assert "height" in outcome(gathered, at={"height": 3}).because
    assert outcome(gathered, at={"width": 5}).outcome == "undecided"
    assert "no results of VeLO" in outcome(gathered, than="VeLO").because
    assert "AdamW 0.814" in outcome(gathered, loss="test_loss").because


def test_divergence_decides_and_is_never_averaged_away(gathered):
    def diverges(name, seeds):
        def at(rows):
            return (rows.method == name) & rows.seed.isin(seeds)

        return sweep.changed(gathered, "train", math.inf, at, status="diverged(3)")

    assert outcome(diverges("AdamW", {0, 1, 2})).outcome == "holds"
    assert outcome(diverges("µLO_M", {0, 1, 2})).outcome == "does not hold"
    # The finite ones are far better, and yet.
    some = outcome(diverges("µLO_M", {1}))
    assert some.outcome == "undecided"
    assert "3 of 9 diverged" in some.because
    assert outcome(diverges("µLO_M", {1}), better="AdamW", than="µLO_M").outcome == "undecided"


def test_how_far_above_its_start_a_training_ends_does_not_matter(gathered):
    """AdamW ends above its start of 2.0 in all seeds, in one by far: that one would widen the interval beyond 0."""

    exploded = sweep.changed(gathered, "train", 2.5, lambda rows: rows.method == "AdamW")
    exploded = sweep.changed(exploded, "initial", 2.0, lambda rows: rows.method == "AdamW")
    verdict = outcome(
        sweep.changed(
            exploded, "train", 1e6, lambda rows: (rows.method == "AdamW") & (rows.meta_seed == 1) & (rows.seed == 1)
        )
    )
    assert verdict.outcome == "holds"
    assert "AdamW 2 (3 × 3 seeds, 0 of 9 diverged, 9 ended above their start)" in verdict.because
    assert "difference −1.586" in verdict.because


def test_the_other_side_of_a_claim_may_be_elsewhere(gathered):
    verdict = outcome(gathered, better="µLO_M", than="µLO_M", at={"width": 64}, than_at={"width": 16})
    assert verdict.outcome == "does not hold"
    assert "µLO_M 0.414" in verdict.because
    assert "µLO_M 0.314" in verdict.because
    assert "difference +0.1," in verdict.because
    assert outcome(gathered, than_at={"height": 1}).outcome == "undecided"


def test_one_training_of_each_decides_nothing(gathered):
    few = replace(gathered, results=gathered.results.query("meta_seed == 0 and seed == 0"))
    verdict = outcome(few)
    assert verdict.outcome == "undecided"
    assert "too few seeds" in verdict.because


def test_ranks_and_speedups_follow_from_the_losses(gathered):
    final, widest, early, _ = comparisons.rankings(gathered)
    assert (widest.title, widest.conditions) == ("width 64, at the end", 1)
    assert {name: rank.value for name, rank in final.ranks.items()} == {"µLO_M": 1, "LO_M": 3, "AdamW": 2}
    assert final.conditions == 2
    assert early.ranks["µLO_M"].value == 1
    ((condition, factors),) = comparisons.speedups(gathered, "AdamW").items()
    assert gathered.conditions.width[condition] == 64
    assert factors["LO_M"] is None
    # Mean curve .414 + 1.3 exp(−5 i/300) meets AdamW's last loss, .714 + 1.3 exp(−5 · 299/300) in i = 87.2 steps.
    target = 0.3 + 1.3 * math.exp(-5 * 296 / 300)  # the median of the last few
    assert factors["µLO_M"] == pytest.approx(300 / (-60 * math.log(target / 1.3) + 1), rel=0.03)


def test_a_method_without_results_under_a_condition_is_not_ranked_there(gathered):
    fewer = replace(gathered, results=gathered.results.query("method != 'AdamW' or width != 64"))
    final, *_ = comparisons.rankings(fewer)
    assert (final.conditions, final.left_out) == (1, 1)


def test_networks_that_failed_have_no_loss_and_rank_last(gathered):
    def at(rows):
        return (rows.method == "µLO_M") & (rows.width == 64)

    failed = sweep.changed(gathered, "train", math.nan, at, status="failed(out of memory)")
    final, widest, *_ = comparisons.rankings(failed)
    assert widest.ranks["µLO_M"].value == 2.5
    assert final.ranks["µLO_M"].value == (1 + 2.5) / 2  # beside LO_M, of which some seeds diverged
    assert outcome(failed).outcome == "undecided"
