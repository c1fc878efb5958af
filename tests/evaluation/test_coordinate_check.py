"""Changes of a network in closed form; then µP, SP and wrong multipliers distinguished on the MLP."""

import math
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo import data
from mulo.config import EmbeddedDataConfig, MLPConfig
from mulo.errors import MuloError
from mulo.evaluation import coordinate_check as check
from mulo.evaluation.coordinate_rows import verdicts
from mulo.optimizers import AdamW, Muon, ScheduleFree
from mulo.randomness import root
from mulo.tasks import make_tasks
from mulo.types import Layer
from tests.distorted import Distorted

X, WX = check.MEASURES
WIDTHS = (8, 32)
FORWARD, RATE = 0.5, 0.1
INPUTS = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
MEANS = INPUTS.astype(np.float64).mean(axis=1)


@pytest.fixture(autouse=True)
def fast_compilation(monkeypatch, jit):
    monkeypatch.setattr(jax, "jit", jit)


@dataclass(frozen=True)
class Chain:
    """Two linear layers under a loss of gradient −1 everywhere, less a noise of its own in every batch.

    The entries of a matrix stay equal: a hidden unit is 3·(entry of low) times the mean of the inputs, and
    3·(entry of low) is 1 at first.
    """

    width: int
    power: float = 0.0
    """Of the width, in the update multiplier of `top`."""
    low: float = 0.0
    """Update multiplier of `low`."""
    noise: float = 0.0
    name: str = "chain"

    @property
    def data(self):
        return jnp.float32(self.noise)

    @property
    def multipliers(self):
        return {"low": self.low, "top": self.width**self.power}

    def init(self, key):
        return {"low": jnp.full((3, self.width), 1 / 3), "top": jnp.ones((self.width, 2))}

    def draw(self, key):
        return ()

    def data_at(self, position):
        return self.data

    def sample(self, data, key):
        return data * jax.random.uniform(key), jnp.int32(0)

    def loss(self, params, batch, drawn=()):
        return -sum(jnp.sum(p) for p in params.values()) * (1 + batch[0])

    def layers(self, params, inputs):
        hidden = inputs @ params["low"]
        low = Layer("low", inputs, hidden, lambda x: x @ params["low"])
        top = FORWARD * hidden @ params["top"] + 1.0
        return [low, Layer("top", hidden, top, lambda x: FORWARD * x @ params["top"])]


@dataclass(frozen=True)
class Descent:
    """Gradient descent at rate θ, until the step that makes everything infinite."""

    diverges_at: int = -1

    def transform(self, theta, num_steps, multipliers):
        def update(gradients, count, params=None, **extra):
            size = jnp.where(count == self.diverges_at, jnp.inf, -theta)
            return {n: size * multipliers[n] * g for n, g in gradients.items()}, count + 1

        return optax.GradientTransformationExtraArgs(lambda params: jnp.int32(0), update)


def chains(**options):
    return [Chain(width, **options) for width in WIDTHS]


def measure(tasks, optimizer=None, times=(1, 3), seeds=2, **options):
    settings = {"times": times, "seeds": seeds, "key": root(0), "names": ("descent", "mup"), **options}
    return check.coordinate_check(tasks, optimizer or Descent(), jnp.float32(RATE), jnp.asarray(INPUTS), **settings)


def select(rows, **wanted):
    return rows[(rows[list(wanted)] == list(wanted.values())).all(axis=1)]


def each(rows):
    return rows.to_dict("records")


@pytest.mark.parametrize(("power", "slope"), [(0.0, 1.0), (-1.0, 0.0)])
def test_a_matrix_that_moves_at_a_known_rate(power, slope):
    rows = measure(chains(power=power))
    assert len(rows) == 2 * 2 * 2 * len(WIDTHS)
    assert set(zip(rows.method, rows.parametrization, strict=True)) == {("descent", "mup")}
    for row in each(select(rows, layer="top")):
        moved = row["t"] * RATE * row["size"] ** power
        assert row["std"] == pytest.approx(FORWARD * row["size"] * moved * MEANS.std(), rel=1e-3)
        assert row["slope"] == pytest.approx(slope, abs=1e-3)
    low = select(rows, layer="low")
    assert (low["std"] == 0).all()
    assert set(low.status) == {"constant"}


def test_the_measures_differ_by_what_the_layers_below_move():
    moved = 3 * RATE
    hidden = (1 + 3 * moved) * MEANS.std()
    expected = {X: (1 + moved) * hidden - MEANS.std(), WX: moved * hidden}
    for row in each(select(measure(chains(low=1.0)), layer="top", t=3)):
        assert row["std"] == pytest.approx(FORWARD * row["size"] * expected[row["measure"]], rel=1e-4)


def test_times_in_between_change_nothing():
    tasks = chains(noise=1.0)
    coarse, fine = measure(tasks, times=(2, 4)), measure(tasks, times=(1, 2, 3, 4))
    for row, finer in zip(each(coarse), each(fine[fine.t.isin([2, 4])]), strict=True):
        assert row["std"] == pytest.approx(finer["std"], rel=1e-6)


def test_seeds_see_different_minibatches():
    single_seed, two_seeds = (measure(chains(noise=1.0), seeds=seeds, times=(3,)) for seeds in (1, 2))
    for single, mean in zip(*(each(select(rows, layer="top")) for rows in (single_seed, two_seeds)), strict=True):
        assert single["std"] != pytest.approx(mean["std"], rel=1e-3)


def test_mean_over_seeds_of_the_std_over_the_rest():
    values, origin = jnp.array([[[0.0, 2.0]], [[5.0, 9.0]]]), jnp.array([[[0.0, 0.0]], [[0.0, 4.0]]])
    assert check._mean_std(values) == 1.5
    assert check._mean_std(values, origin) == 0.5


def test_divergence_fails_from_its_step_on():
    seen = []
    rows = measure(chains(), Descent(diverges_at=1), times=(1, 2), on_step=seen.append)
    outcomes = {t: set(verdicts(select(rows, layer="top", t=t), math.inf).outcome) for t in (1, 2)}
    assert outcomes == {1: {"stable"}, 2: {"undefined"}}
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize(("widths", "values"), [((), "none"), ((8,), "8"), ((8, 8), "8, 8")])
def test_one_width_is_refused(widths, values):
    with pytest.raises(MuloError, match=f"widths {values} are invalid; expected at least two different"):
        measure([Chain(width) for width in widths])


@cache
def embedded():
    return data.load(EmbeddedDataConfig())


ADAM = AdamW(learning_rate=3e-3)


def check_adam(parametrization, widths, power=0.0, optimizer=ADAM):
    inputs, _ = embedded().fixed(embedded().arrays, "test", 64)
    tasks = make_tasks(MLPConfig(depth=2), parametrization, embedded(), list(widths))
    settings = {"times": (1, 10), "seeds": 3, "key": root(0), "names": ("adam", parametrization)}
    distorted = [Distorted(task, power) for task in tasks]
    return check.coordinate_check(distorted, optimizer, optimizer.init(root(0)), inputs, **settings)


def slopes(rows, t):
    return {(row["measure"], row["layer"]): row["slope"] for row in each(select(rows, t=t))}


def test_adam_under_mup_moves_the_same_at_every_width():
    judged = verdicts(check_adam("mup", (64, 128, 256, 512)), 0.1)
    constant = {(v.measure, v.layer, v.t) for v in judged.itertuples() if v.outcome == "constant"}
    # The output matrix starts at zero and lets no gradient through in the first step, without which Adam rests.
    assert constant == {(measure, layer, 1) for measure in (X, WX) for layer in ("input", "hidden_1")}
    assert set(judged.outcome) == {"constant", "stable"}


@pytest.mark.parametrize(
    "optimizer",
    [AdamW(nesterov=True, learning_rate=3e-3), Muon(learning_rate=3e-2), ScheduleFree(learning_rate=3e-3)],
    ids=lambda optimizer: optimizer.name,
)
def test_other_baselines_under_mup_move_the_same_at_every_width(optimizer):
    rows = check_adam("mup", (64, 128, 256, 512), optimizer=optimizer)
    judged = verdicts(rows[rows["std"] > 1e-6], 0.15)  # schedule-free averages equal numbers, up to rounding
    assert set(judged.outcome[judged.t == 10]) == {"stable"}
    assert not judged.failed.any()


def test_muon_under_elementwise_multipliers_is_caught(monkeypatch):
    """Orthogonalised updates divided by fan_in, as elementwise ones must be, move wide networks less."""
    monkeypatch.setattr(Muon, "power", lambda self, multiplier, rank: 1.0)
    rows = check_adam("mup", (64, 256), optimizer=Muon(learning_rate=3.0))
    assert slopes(rows, t=10)[WX, "hidden_1"] < -0.5


def test_adam_under_sp_moves_wide_networks_further():
    slope_of = slopes(check_adam("sp", (64, 256)), t=1)
    assert min(slope_of[measure, layer] for measure in (X, WX) for layer in ("hidden_1", "output")) > 0.4
    assert abs(slope_of[X, "input"]) < 0.1


@pytest.mark.parametrize("power", [0.5, -0.5])
def test_a_wrong_hidden_multiplier_is_caught(power):
    rows = check_adam("mup", (64, 256), power)
    failed = {(v.measure, v.layer, v.t) for v in verdicts(rows, 0.1).itertuples() if v.failed}
    assert (WX, "hidden_1", 10) in failed
    assert slopes(rows, t=10)[WX, "hidden_1"] == pytest.approx(power, abs=0.15)
