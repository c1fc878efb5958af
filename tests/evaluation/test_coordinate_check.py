"""The measures against closed forms, and µP, SP and wrong multipliers told apart on the MLP."""

import math
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mulo import data
from mulo.config import AdamConfig, EmbeddedDataConfig, MLPConfig
from mulo.errors import MuloError
from mulo.evaluation import coordinate_check as check
from mulo.optimizers import make_optimizer
from mulo.randomness import root
from mulo.tasks import make_tasks
from mulo.types import Layer

X, WX = check.MEASURES
WIDTHS = (8, 32)
FORWARD, RATE = 0.5, 0.1
INPUTS = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
MEANS = INPUTS.astype(np.float64).mean(axis=1)


@dataclass(frozen=True)
class Chain:
    """Two linear layers with a loss whose gradient is −1 everywhere, and `noise` times a number the batch holds.

    All entries of a matrix stay equal, so everything is known: with `low` at rest at 1/3, each hidden unit is
    the mean of its inputs.
    """

    width: int
    power: float = 0.0
    """Of the width, in the update multiplier of `top`."""
    low_rate: float = 0.0
    noise: float = 0.0
    name: str = "chain"

    @property
    def data(self):
        return jnp.float32(self.noise)

    @property
    def multipliers(self):
        return {"low": self.low_rate, "top": self.width**self.power}

    def init(self, key):
        return {"low": jnp.full((3, self.width), 1 / 3), "top": jnp.ones((self.width, 2))}

    def sample(self, data, key):
        return data * jax.random.uniform(key), jnp.int32(0)

    def loss(self, params, batch):
        return -sum(jnp.sum(p) for p in params.values()) * (1 + batch[0])

    def layers(self, params, inputs):
        hidden = inputs @ params["low"]
        low = Layer("low", inputs, hidden, lambda x: x @ params["low"])
        top = FORWARD * hidden @ params["top"] + 1.0
        return [low, Layer("top", hidden, top, lambda x: FORWARD * x @ params["top"])]


@dataclass(frozen=True)
class Descent:
    """Gradient descent at rate θ."""

    blow_up_at: int = -1

    def transform(self, theta, num_steps, multipliers):
        def update(gradients, count, params=None, **extra):
            size = jnp.where(count == self.blow_up_at, jnp.inf, -theta)
            return {n: size * multipliers[n] * g for n, g in gradients.items()}, count + 1

        return optax.GradientTransformationExtraArgs(lambda params: jnp.int32(0), update)


@pytest.fixture(autouse=True)
def fast_compilation(monkeypatch, jit):
    monkeypatch.setattr(jax, "jit", jit)


def measure(tasks, optimizer=None, times=(1, 3), seeds=2, key=0, **options):
    names = ("descent", "mup")
    settings = {"times": times, "seeds": seeds, "key": root(key), "names": names}
    return check.coordinate_check(
        tasks, optimizer or Descent(), jnp.float32(RATE), jnp.asarray(INPUTS), **settings, **options
    )


def select(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


@pytest.mark.parametrize(("power", "slope"), [(0.0, 1.0), (-1.0, 0.0), (-0.5, 0.5)])
def test_stds_and_slopes_of_a_known_movement(power, slope):
    rows = measure([Chain(width, power) for width in WIDTHS])
    assert len(rows) == 2 * 2 * 2 * len(WIDTHS)
    for row in select(rows, layer="top"):
        moved = row["t"] * RATE * row["width"] ** power
        assert row["std"] == pytest.approx(FORWARD * row["width"] * moved * MEANS.std(), rel=1e-3)
        assert row["slope"] == pytest.approx(slope, abs=1e-3)
        assert row["status"] == "moving"
    assert {row["measure"] for row in rows} == {X, WX}


def test_a_layer_at_rest_is_still_and_no_pass():
    rows = select(measure([Chain(width) for width in WIDTHS]), layer="low")
    assert {row["std"] for row in rows} == {0.0}
    assert all(math.isnan(row["slope"]) and row["status"] == "still" for row in rows)
    assert {(v.outcome, v.failed) for v in check.verdicts(rows, math.inf)} == {("still", False)}


def test_the_two_measures_differ_by_what_the_layers_below_move():
    rows = select(measure([Chain(w, low_rate=1.0) for w in WIDTHS]), layer="top", t=3)
    for row in rows:
        # Of hidden units: means of the inputs, times 1 at first and 1 + 3·moved in the end.
        moved = 3 * RATE
        hidden = (1 + 3 * moved) * MEANS.std()
        whole = (1 + moved) * hidden - MEANS.std() if row["measure"] == X else moved * hidden
        assert row["std"] == pytest.approx(FORWARD * row["width"] * whole, rel=1e-3)


def test_times_in_between_change_nothing():
    tasks = [Chain(width, noise=1.0) for width in WIDTHS]
    coarse, fine = measure(tasks, times=(2, 4)), measure(tasks, times=(1, 2, 3, 4))
    for one, other in zip(coarse, select(fine, t=2) + select(fine, t=4), strict=True):
        assert one["std"] == pytest.approx(other["std"], rel=1e-6)


def test_seeds_are_averaged_and_the_key_decides_them():
    tasks = [Chain(width, noise=1.0) for width in WIDTHS]
    one, two, other = (measure(tasks, seeds=seeds, key=key) for seeds, key in ((1, 0), (2, 0), (1, 1)))
    top = [select(rows, layer="top", measure=WX, t=3, width=8)[0]["std"] for rows in (one, two, other)]
    assert len(set(top)) == 3
    values = jnp.array([[0.0, 2.0], [0.0, 4.0]])
    assert check._mean_std(values) == 1.5
    assert check._mean_std(values, jnp.array([[0.0, 2.0], [0.0, 0.0]])) == 1.0


def test_divergence_is_undefined_and_fails():
    tasks = [Chain(width) for width in WIDTHS]
    rows = measure(tasks, Descent(blow_up_at=1), times=(1, 2))
    assert {row["status"] for row in select(rows, t=1, layer="top")} == {"moving"}
    late = select(rows, t=2, layer="top")
    assert all(math.isnan(row["slope"]) and row["status"] == "undefined" for row in late)
    assert {verdict.failed for verdict in check.verdicts(late, math.inf)} == {True}


def test_progress_counts_the_steps_of_all_widths():
    seen = []
    measure([Chain(width) for width in WIDTHS], times=(2, 6), on_step=seen.append)
    assert seen == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("widths", [(), (8,), (8, 8)])
def test_one_width_is_refused(widths):
    with pytest.raises(MuloError, match=r"at least two different widths; given: (none|8|8, 8)\."):
        measure([Chain(width) for width in widths])


def test_verdicts_by_tolerance():
    rows = measure([Chain(width, -0.8) for width in WIDTHS])
    found = {v.outcome for v in check.verdicts(select(rows, layer="top"), 0.25)}
    assert found == {"stable"}
    strict = check.verdicts(rows, 0.15)
    assert [(v.measure, v.layer, v.t) for v in strict if v.failed] == [
        (measure, "top", t) for t in (1, 3) for measure in (X, WX)
    ]
    assert {round(v.slope, 3) for v in strict if v.failed} == {0.2}


def test_csv_returns_the_rows(tmp_path):
    rows = measure([Chain(width) for width in WIDTHS])
    check.write_rows(rows, tmp_path / "rows.csv")
    read = check.read_rows(tmp_path / "rows.csv")
    assert len(read) == len(rows)
    for one, other in zip(read, rows, strict=True):
        assert repr(one) == repr(other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its columns are missing"),
        ("width,std\n8,1.0\n", "its columns are width, std"),
        (f"{','.join(check.Row.__annotations__)}\na,mup,x,l,1,wide,1.0,0.0,moving\n", "line 2: .*'wide'"),
        (f"{','.join(check.Row.__annotations__)}\na,mup,x\n", "line 2"),
    ],
)
def test_other_csv_files_are_refused(tmp_path, text, said):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(MuloError, match=said):
        check.read_rows(tmp_path / "rows.csv")


@cache
def embedded():
    return data.load(EmbeddedDataConfig())


def networks(parametrization, widths, power=0.0):
    """MLPs; the update multipliers of hidden matrices are off by width^power."""
    for task in make_tasks(MLPConfig(depth=2), parametrization, embedded(), list(widths)):
        wrong = {"hidden_1/kernel": task.multipliers["hidden_1/kernel"] * task.width**power}
        yield Distorted(task, {**task.multipliers, **wrong})


class Distorted:
    """A task with other multipliers."""

    def __init__(self, task, multipliers):
        self._task, self.multipliers = task, multipliers

    def __getattr__(self, name):
        return getattr(self._task, name)


def adam(parametrization, widths, power=0.0):
    optimizer = make_optimizer(AdamConfig(parametrization=parametrization, learning_rate=3e-3))
    inputs, _ = embedded().fixed(embedded().arrays, "test", 64)
    names = ("adam", parametrization)
    tasks = list(networks(parametrization, widths, power))
    settings = {"times": (1, 10), "seeds": 3, "key": root(0), "names": names}
    return check.coordinate_check(tasks, optimizer, optimizer.init(root(0)), inputs, **settings)


def slopes(rows, **wanted):
    return {(row["measure"], row["layer"]): row["slope"] for row in select(rows, **wanted)}


def test_adam_under_mup_moves_the_same_at_every_width():
    found = check.verdicts(adam("mup", (64, 128, 256, 512)), 0.1)
    still = {(v.measure, v.layer, v.t) for v in found if v.outcome == "still"}
    # The output matrix starts at zero: no gradient passes it in the first step, and Adam moves nothing without one.
    assert still == {(measure, layer, 1) for measure in (X, WX) for layer in ("input", "hidden_1")}
    assert {v.outcome for v in found} == {"still", "stable"}


def test_adam_under_sp_moves_wide_networks_further():
    found = slopes(adam("sp", (64, 256)), t=1)
    assert min(found[measure, layer] for measure in (X, WX) for layer in ("hidden_1", "output")) > 0.4
    assert abs(found[X, "input"]) < 0.1


@pytest.mark.parametrize("power", [0.5, -0.5])
def test_a_wrong_hidden_multiplier_is_caught(power):
    rows = adam("mup", (64, 256), power)
    failed = [v for v in check.verdicts(rows, 0.1) if v.failed]
    assert (WX, "hidden_1", 10) in {(v.measure, v.layer, v.t) for v in failed}
    assert slopes(rows, t=10)[WX, "hidden_1"] == pytest.approx(power, abs=0.15)
