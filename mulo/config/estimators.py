"""What estimators of the meta-gradient differ in; `mulo.meta.estimators` says what each of them is, and computes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EstimatorTraits:
    """One estimator: what ξ is, by which loss differences are weighed, and when particles start.

    Attributes:
        summed: ξ is the sum of all perturbations since the unroll began, not the last one alone.
        held: one perturbation is drawn at an unroll's start and held to its end, not one per outer step.
        lockstep: all particles of a task start and end together, with one length.
        spread: first unrolls start at an age that is uniform over the whole unroll, not below `recipe.start_offset`.
        whole: an outer step is a whole unroll, not a truncation.
    """

    summed: bool = False
    held: bool = False
    lockstep: bool = False
    spread: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if (self.summed and self.held) or (self.whole and not self.lockstep):
            raise ValueError("A held perturbation is not summed, and whole unrolls of an outer step have one length.")


ESTIMATORS = {
    "pes": EstimatorTraits(summed=True),
    "nres": EstimatorTraits(held=True, spread=True),
    "es_single": EstimatorTraits(held=True, lockstep=True),
    "es": EstimatorTraits(lockstep=True, whole=True),
    "truncated_es": EstimatorTraits(),
}
"""By `recipe.estimator`; a row more is an estimator more."""
