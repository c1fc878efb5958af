"""Lengths, start offsets, perturbations, and particles over several unrolls."""

import zlib
from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import parse
from mulo.config.estimators import ESTIMATORS, EstimatorTraits
from mulo.meta.particles import draw_lengths, draw_offsets, renewed

from .quadratic import THETA, MomentumOptimizer, Quadratic, estimator, flat, history, key_of, recipe

MANY = 20_000


def lengths_of(count=MANY, **changes):
    return np.asarray(draw_lengths(recipe(**changes), key_of(0), count))


def test_lengths_are_rounded_to_truncations_within_the_range():
    drawn = lengths_of(truncation=50, min_length=120, max_length=980)
    assert set(drawn) == set(range(100, 1001, 50))


def test_lengths_are_log_uniform():
    drawn = np.sort(np.log(lengths_of(truncation=1, min_length=1000, max_length=10_000)))
    uniform = (drawn - np.log(1000)) / np.log(10)
    assert np.exp(np.median(drawn)) == pytest.approx(np.sqrt(1000 * 10_000), rel=0.03)
    assert np.abs(uniform - (np.arange(MANY) + 0.5) / MANY).max() < 2 / np.sqrt(MANY)  # Kolmogorov: p < 0.001


def test_lengths_may_be_uniform():
    drawn = np.sort(lengths_of(truncation=1, min_length=1000, max_length=10_000, lengths="uniform"))
    assert np.abs((drawn - 1000) / 9000 - (np.arange(MANY) + 0.5) / MANY).max() < 2 / np.sqrt(MANY)  # as above


@pytest.mark.parametrize("lengths", ["log_uniform", "uniform"])
@pytest.mark.parametrize(("step", "longest"), [(0, 1000), (10, 2000), (20, 4000), (30, 8000), (35, 8000)])
def test_the_longest_length_grows_evenly_in_its_logarithm(step, longest, lengths):
    """Over 30 of 40 outer steps, three doublings."""
    settings = {"min_length": 1000, "max_length": 8000, "length_curriculum": 0.75, "outer_steps": 40}
    grown = np.asarray(draw_lengths(recipe(truncation=1, lengths=lengths, **settings), key_of(0), MANY, step))
    fixed = lengths_of(truncation=1, min_length=1000, max_length=longest, lengths=lengths)
    np.testing.assert_allclose(grown, fixed, rtol=1e-5, atol=1)


def test_unrolls_draw_the_lengths_of_their_outer_step():
    settings = recipe(pairs=8, min_length=5, max_length=80, length_curriculum=1.0, outer_steps=4)
    ended, xi = jnp.full(8, 5), jax.tree.map(lambda x: jnp.zeros((8, *x.shape)), THETA)
    for step in range(5):
        *_, lengths = renewed(settings, xi, ended, ended, jnp.int32(step), key_of(0))
        key = jax.random.fold_in(key_of(0), zlib.crc32(b"length"))
        np.testing.assert_array_equal(lengths, draw_lengths(settings, key, 8, step))
    assert lengths.max() > 5


def test_a_single_possible_length_is_drawn():
    assert set(lengths_of(truncation=5, min_length=20, max_length=20)) == {20}


@pytest.mark.parametrize(("start_offset", "ages"), [(0, {0}), (50, {0, 50}), (120, {0, 50, 100})])
def test_offsets_are_whole_truncations_below_the_start_offset(start_offset, ages):
    settings = recipe(truncation=50, start_offset=start_offset)
    assert set(np.asarray(draw_offsets(settings, key_of(0), jnp.full(MANY, 1000)))) == ages


def test_offsets_of_nres_are_uniform_over_the_unroll():
    settings = recipe(truncation=50, start_offset=0, estimator="nres")
    for length in (50, 200):
        offsets = np.asarray(draw_offsets(settings, key_of(0), jnp.full(MANY, length)))
        ages, counts = np.unique(offsets, return_counts=True)
        assert ages.tolist() == list(range(0, length, 50))
        np.testing.assert_allclose(counts / MANY, 50 / length, rtol=4 / np.sqrt(MANY * 50 / length))


def test_offsets_leave_at_least_one_truncation():
    lengths = jnp.tile(jnp.array([50, 100, 150]), 100)
    offsets = draw_offsets(recipe(truncation=50, start_offset=200), key_of(0), lengths)
    assert np.unique(lengths - offsets).tolist() == [50, 100, 150]


@cache
def pes():
    """12 outer steps of 4 particles whose unrolls last 4 truncations, the first ones less."""
    return [particles for particles, _ in history(estimator(), 12)]


def epsilon(step, pairs, sigma=0.01):
    """ε [pairs, 3] from the keys alone, written without mulo."""
    key = jax.random.fold_in(key_of(step), zlib.crc32(b"perturbation"))
    return np.stack([sigma * jax.random.normal(jax.random.fold_in(key, i), (3,)) for i in range(pairs)])


def test_particles_age_and_start_anew_at_their_end():
    for before, after in pairwise(pes()):
        ended = before.age == 20
        np.testing.assert_array_equal(after.age, np.where(ended, 0, before.age) + 5)
        steps_done = after.training.optimizer_state.count.reshape(4, 2)[ended]
        np.testing.assert_array_equal(steps_done, 5)


def test_offsets_only_shorten_first_unrolls():
    first = pes()[0]
    assert set(first.age) <= {5, 10, 15, 20}
    np.testing.assert_array_equal(first.training.optimizer_state.count, 5)
    resets = [[i for i, p in enumerate(pes()) if p.age[k] == 5 and i > 0] for k in range(4)]
    assert len({first for first, *_ in resets}) > 1, "not all at the same time"
    assert {later - earlier for r in resets for earlier, later in pairwise(r)} == {4}


def test_new_unrolls_start_from_new_parameters():
    """Without noise and deaf to θ, a training only depends on where it starts."""
    quiet = estimator(Quadratic(noise=0.0), MomentumOptimizer(deaf=True), start_offset=0)
    seen = [particles.training.params["w"][::2] for particles, _ in history(quiet, 9)]
    assert len(np.unique([seen[0], seen[4], seen[8]])) == 3 * 4 * 2


def test_xi_is_the_sum_of_epsilon_since_the_unroll_began():
    total = np.zeros((4, 3))
    for step, particles in enumerate(pes()):
        fresh = particles.training.optimizer_state.count[::2] == 5
        total = np.where(fresh[:, None], 0, total) + epsilon(step, 4)
        np.testing.assert_allclose(flat(particles.xi), total, rtol=1e-5, atol=1e-8)


@cache
def full_es():
    return [p for p, _ in history(estimator(estimator="es", min_length=10, max_length=40, sigma=0.02), 6)]


def test_full_es_shares_one_length_and_runs_to_its_end():
    for particles in full_es():
        assert len(set(particles.length)) == 1
        np.testing.assert_array_equal(particles.age, particles.length)
        np.testing.assert_array_equal(particles.training.optimizer_state.count, particles.length[0])
    lengths = {int(particles.length[0]) for particles in full_es()}
    assert len(lengths) > 1
    assert lengths <= set(range(10, 41, 5))


def test_in_full_es_the_last_epsilon_alone_weighs():
    for step, particles in enumerate(full_es()):
        np.testing.assert_allclose(flat(particles.xi), epsilon(step, 4, sigma=0.02), rtol=1e-5, atol=1e-8)


@cache
def held(name):
    """As `pes`, of an estimator that holds ε, with lengths of 2 to 8 truncations."""
    return [p for p, _ in history(estimator(estimator=name, min_length=10, max_length=40), 12)]


@pytest.mark.parametrize("name", ["nres", "es_single"])
def test_epsilon_is_drawn_at_the_start_of_an_unroll_and_held(name):
    first = {}
    for step, particles in enumerate(held(name)):
        for k in np.flatnonzero(particles.training.optimizer_state.count[::2] == 5):
            first[k] = epsilon(step, 4)[k]
        np.testing.assert_allclose(flat(particles.xi), [first[k] for k in range(4)], rtol=1e-5, atol=1e-8)
    assert not np.isclose(first[0], epsilon(0, 4)[0]).any(), "another unroll, another ε"


def test_in_es_single_all_start_together_with_one_length():
    for particles in held("es_single"):
        assert len(set(particles.age)) == len(set(particles.length)) == 1
        np.testing.assert_array_equal(particles.training.optimizer_state.count, particles.age[0])
    assert len({int(particles.length[0]) for particles in held("es_single")}) > 1


def test_in_nres_each_starts_on_its_own():
    lengths, ages = zip(*((p.length, p.age) for p in held("nres")), strict=True)
    assert all(len(set(row)) > 1 for row in ages)
    assert len(set(lengths[0])) > 1
    assert (ages[0] > 5).any(), "first unrolls are shortened"


def test_in_truncated_es_the_last_epsilon_alone_weighs():
    for step, (particles, _) in enumerate(history(estimator(estimator="truncated_es"), 3)):
        np.testing.assert_allclose(flat(particles.xi), epsilon(step, 4), rtol=1e-5, atol=1e-8)


def test_a_particle_does_not_depend_on_how_many_there_are():
    few, many = pes()[0], history(estimator(pairs=8, start_offset=0), 1)[0][0]
    sides = [p.training.params["w"].reshape(-1, 2, 2) for p in (few, many)]
    np.testing.assert_array_equal(flat(few.xi), flat(many.xi)[:4])
    np.testing.assert_allclose(sides[0], sides[1][:4], rtol=1e-5)


def test_xi_is_shaped_as_theta():
    particles = estimator().initial(THETA)
    assert jax.tree.map(jnp.shape, particles.xi) == {"log_rate": (4, 2), "momentum": (4,)}


def test_an_estimator_is_a_row_of_traits(monkeypatch):
    """One that holds ε as NRES does, while its first unrolls are shortened as those of PES are."""
    monkeypatch.setitem(ESTIMATORS, "toy", EstimatorTraits(held=True))
    assert parse({"recipe": {"estimator": "toy"}}).recipe.traits.held
    first = {}
    for step, (particles, estimate) in enumerate(history(estimator(estimator="toy"), 8)):
        np.testing.assert_array_equal(particles.age, pes()[step].age)
        for k in np.flatnonzero(particles.training.optimizer_state.count[::2] == 5):
            first[k] = epsilon(step, 4)[k]
        np.testing.assert_allclose(flat(particles.xi), [first[k] for k in range(4)], rtol=1e-5, atol=1e-8)
        assert np.abs(flat(estimate.gradient)).min() > 0


@pytest.mark.parametrize("traits", [{"summed": True, "held": True}, {"whole": True}])
def test_traits_that_contradict_each_other_are_refused(traits):
    with pytest.raises(ValueError, match="held perturbation"):
        EstimatorTraits(**traits)
