"""Changes that grow as a known power of depth; which layers are compared, and what is promised of them."""

import re
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from mulo.config import Config, StdlibTextDataConfig, TransformerConfig
from mulo.config.root import CoordinateCheckConfig
from mulo.data import load
from mulo.errors import ConfigError, MuloError
from mulo.evaluation import coordinate_check as check
from mulo.jobs import coordinate_check as job
from mulo.optimizers import AdamW
from mulo.randomness import root
from mulo.reporting import coordinate_plot, style
from mulo.tasks import make_tasks
from mulo.types import Layer
from tests.evaluation.test_coordinate_rows import changes
from tests.test_configs import composed

DEPTHS = (2, 4, 8)
RATE = 0.25
INPUTS = np.random.default_rng(0).standard_normal((7, 1)).astype(np.float32)


@pytest.fixture(autouse=True)
def fast_compilation(monkeypatch, jit):
    monkeypatch.setattr(jax, "jit", jit)


@dataclass(frozen=True)
class Sum:
    """x plus depth^−power times what every block makes of x: an entry of its own times x, 0 at first.

    Under a loss of gradient −1 everywhere all entries are t·RATE after t steps.
    """

    depth: int
    power: float
    width: int = 1
    data: tuple = ()

    @property
    def multipliers(self):
        return dict.fromkeys(self.init(None), 1.0)

    def init(self, key):
        return {f"block_{i}": jnp.zeros((1, 1)) for i in range(1, self.depth + 1)}

    def draw(self, key):
        return ()

    def data_at(self, position):
        return self.data

    def sample(self, data, key):
        return jnp.float32(0), jnp.int32(0)

    def loss(self, params, batch, drawn=()):
        return -sum(jnp.sum(p) for p in params.values())

    def layers(self, params, inputs):
        layers, hidden = [], inputs
        for name, entry in params.items():
            layers.append(Layer(f"{name}/out", inputs, inputs @ entry, lambda x, entry=entry: x @ entry))
            hidden = hidden + self.depth**-self.power * layers[-1].preactivation
        return [*layers, Layer("output", inputs, hidden, None)]


@dataclass(frozen=True)
class Descent:
    """Gradient descent at rate θ."""

    def transform(self, theta, num_steps, multipliers):
        return optax.with_extra_args_support(optax.sgd(theta))


def measure(tasks, over="depth"):
    settings = {"times": (3,), "seeds": 1, "key": root(0), "names": ("descent", "completep"), "over": over}
    return check.coordinate_check(tasks, Descent(), jnp.float32(RATE), jnp.asarray(INPUTS), **settings)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_slope_of_a_sum_of_branches_is_the_power_that_is_left(power):
    rows = measure([Sum(depth, power) for depth in DEPTHS])
    assert set(rows.over) == {"depth"}
    output = rows[rows.layer == "output"]
    assert list(output["size"]) == list(DEPTHS)
    for row in output.to_dict("records"):
        assert row["std"] == pytest.approx(3 * RATE * row["size"] ** (1 - power) * INPUTS.std(), rel=1e-5)
        assert row["slope"] == pytest.approx(1 - power, abs=1e-5)
    last = rows.slope[rows.layer == "block_last/out"]
    np.testing.assert_allclose(last, np.zeros(2 * len(DEPTHS)), atol=1e-6)


def test_only_layers_of_every_depth_are_compared():
    names = set(measure([Sum(depth, 1.0) for depth in (12, 3)]).layer)
    # block_3 of the deeper network is none of the other's, whose third block is its last.
    assert names == {"block_1/out", "block_2/out", "block_last/out", "output"}


def test_over_width_blocks_keep_their_numbers():
    names = set(measure([Sum(2, 1.0, width) for width in (1, 2)], over="width").layer)
    assert names == {"block_1/out", "block_2/out", "output"}


def test_one_depth_is_refused():
    with pytest.raises(MuloError, match="depths 2, 2 are invalid; expected at least two different"):
        measure([Sum(2, 1.0), Sum(2, 0.0)])


@pytest.mark.parametrize(
    ("layer", "depth", "name"),
    [
        ("block_4/up", 4, "block_last/up"),
        ("stage_2_block_4/first", 4, "stage_2_block_last/first"),
        ("block_1/up", 4, "block_1/up"),
        ("block_12/up", 2, "block_12/up"),
        ("block_12/up", 1, "block_12/up"),
        ("hidden_4", 4, "hidden_4"),
    ],
)
def test_the_last_block_has_one_name(layer, depth, name):
    assert check._at_any_depth(layer, depth) == name


def config(parametrization="completep", **changes):
    settings = CoordinateCheckConfig(depths=[2, 4], **changes)
    task = TransformerConfig(width=8, heads=1, parametrization=parametrization)
    return Config(mode="coordinate_check", task=task, data=StdlibTextDataConfig(), coordinate_check=settings)


def test_the_tasks_have_the_depths_at_the_one_width_and_complete_ps_factor():
    chosen = config()
    tasks = job._tasks(chosen, chosen.task, load(StdlibTextDataConfig(sequence_length=8)))
    assert [(task.width, task.depth, task.parametrization.branch) for task in tasks] == [(8, 2, 1 / 2), (8, 4, 1 / 4)]


@pytest.mark.parametrize(("over", "width"), [("width", True), ("depth", False)])
def test_widths_are_compared_where_no_depths_are_given(over, width):
    settings = CoordinateCheckConfig(widths=[8, 16], depths=None if width else [2, 4])
    chosen = replace(config(), coordinate_check=settings)
    tasks = job._tasks(chosen, chosen.task, load(StdlibTextDataConfig(sequence_length=8)))
    assert settings.over == over
    assert len({task.width for task in tasks}) == 1 + width


@pytest.mark.parametrize(
    ("parametrization", "over", "code"),
    [
        ("completep", "depth", 1),
        ("mup", "depth", 0),
        ("sp", "depth", 0),
        ("completep", "width", 1),
        ("mup", "width", 1),
    ],
)
def test_only_what_is_promised_can_fail(capsys, tmp_path, parametrization, over, code):
    rows = changes({2: 1.0, 4: 2.0}, "l", parametrization=parametrization, t=1, over=over)
    chosen = config(parametrization)
    if over == "width":
        chosen = replace(chosen, coordinate_check=CoordinateCheckConfig())
    assert job._verdict(chosen, rows, tmp_path, Console(width=200)) == code
    assert "x_t - x_0, layer l, t = 1: slope +1.00 (unstable)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "depths", "message"),
    [
        (
            "transformer",
            [4],
            "coordinate_check.depths=[4] is invalid; expected a list of at least two different",
        ),
        ("transformer", [4, 4], "at least two different depths"),
        ("transformer", [1, 4], "coordinate_check.depths=[1, 4] is invalid"),
        ("transformer_multiwidth", [2, 4], "choose task=transformer with task.width"),
    ],
)
def test_what_a_check_over_depth_refuses(task, depths, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        composed(f"task={task}", f"coordinate_check.depths={depths}", "mode=coordinate_check")


@pytest.mark.parametrize("over", ["width", "depth"])
def test_the_figures_name_what_the_movements_are_over(monkeypatch, tmp_path, over):
    seen = []
    monkeypatch.setattr(style, "save", lambda figure, stem: seen.append(figure.axes))
    rows = changes({2: 1.0, 4: 2.0}, parametrization="completep", t=1, over=over)
    coordinate_plot.coordinate_check(rows, tmp_path / "one", "Check")
    coordinate_plot.coordinate_overview(rows, tmp_path / "two", "Check", "x_t - x_0", 1)
    assert [axes.get_xlabel() for (axes,) in seen] == [over, over]
    assert [axes.get_xticks().tolist() for (axes,) in seen] == [[2, 4], [2, 4]]


@pytest.mark.slow
def test_the_last_block_of_a_transformer_moves_alike_under_complete_p_alone():
    task = TransformerConfig(width=32, heads=1, query_init="zeros", batch_size=4)
    dataset = load(StdlibTextDataConfig(sequence_length=16))
    inputs, _ = dataset.fixed(dataset.arrays, "test", 4)
    adam = AdamW(name="mu_adam", parametrization="mup", learning_rate=0.02)
    settings = {"times": (2,), "seeds": 4, "key": root(0), "over": "depth"}
    slopes = {}
    for parametrization in ("completep", "mup"):
        tasks = make_tasks(task, parametrization, dataset, depths=(2, 8))
        rows = check.coordinate_check(
            tasks, adam, adam.init(root(0)), inputs, names=("mu_adam", parametrization), **settings
        )
        slopes |= {(parametrization, row.measure, row.layer): row.slope for row in rows.itertuples()}
    assert abs(slopes["completep", check.MEASURES[0], "block_last/up"]) < 0.2
    assert slopes["mup", check.MEASURES[0], "block_last/up"] > 0.5
