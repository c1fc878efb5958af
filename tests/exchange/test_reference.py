"""Trajectories of the original implementations are reproduced, and one changed constant is enough to leave them."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax import contrib

from mulo.errors import MultiplierError, ReferenceFileError
from mulo.exchange.reference import read_reference, replay
from mulo.optimizers import accumulators, celo2_rule, loss_features, native, per_parameter_mlp, small_fc_rule, velo_rule

FILES = Path(__file__).parents[1] / "reference"
NAMES = ("small_fc_sp_h4", "small_fc_sp_h32", "small_fc_mup_h4", "small_fc_mup_h32", "velo_sp", "velo_mup")
CELO2 = ("celo2_base", "celo2_orthogonal")


@pytest.fixture
def fast_compilation(monkeypatch, jit):
    monkeypatch.setattr(jax, "jit", jit)


@pytest.fixture
def in_jax(monkeypatch):
    """Not through the native kernel, whose constants are its own."""
    monkeypatch.setattr(native, "available", lambda: False)


@pytest.fixture
def form(request, monkeypatch):
    if request.param == "in jax":
        monkeypatch.setattr(native, "available", lambda: False)
    else:
        assert native.available(), "this test needs a C++ compiler"


def read(name):
    return read_reference(FILES / f"{name}.npz")


def only(reference, *names):
    """Keeps some tensors; valid for small_fc and Celo2, which move each tensor without regard to the others."""

    def keep(tensors):
        return {name: tensors[name] for name in names}

    return reference._replace(
        params=keep(reference.params),
        gradients=[keep(tensors) for tensors in reference.gradients],
        expected=[keep(tensors) for tensors in reference.expected],
    )


IN_JAX = ("small_fc_mup_h4", "velo_mup", "celo2_base")
"""One of each architecture; the slow suite replays all of them in JAX."""


@pytest.mark.usefixtures("fast_compilation", "form")
@pytest.mark.parametrize(
    ("form", "name"),
    [("native", name) for name in NAMES + CELO2] + [("in jax", name) for name in IN_JAX],
    indirect=["form"],
)
def test_replay_agrees_with_the_original_implementation(name):
    errors = replay(read(name))
    assert len(errors) == (8 if name in CELO2 else 10)
    assert max(errors.values()) <= 1, errors
    assert max(errors.values()) < 0.5, f"within the tolerance, but closer to its limit than rounding explains: {errors}"


@pytest.mark.slow
@pytest.mark.usefixtures("in_jax")
@pytest.mark.parametrize("name", NAMES + CELO2)
def test_replay_agrees_as_users_compile_it(name):
    assert max(replay(read(name)).values()) < 0.5


def swapped(features, i, j):
    """The same features with two of them, equally many copies each, in each other's place."""

    def reordered(*args):
        found = features(*args)
        found[i], found[j] = found[j], found[i]
        return found

    return reordered


def other_decay(**changed):
    decays = small_fc_rule._initial_decays()._replace(**{name: jnp.array(b) for name, b in changed.items()})
    return lambda: decays


SMALL_FC_MISREADINGS = {
    "moment_eps": (small_fc_rule, "MOMENT_EPS", 1e-5),
    "factor_eps": (accumulators, "FACTOR_EPS", 1e-7),
    "row_mean_eps": (accumulators, "ROW_MEAN_EPS", 1e-2),
    "safe_rsqrt_floor": (accumulators, "SAFE_RSQRT_FLOOR", 1e-7),
    "normalizer_eps": (small_fc_rule, "NORMALIZER", per_parameter_mlp.Normalizer(1e-4)),
    "momentum_decay": (small_fc_rule, "_initial_decays", other_decay(momentum=[0.9, 0.98, 0.999])),
    "second_moment_decay": (small_fc_rule, "_initial_decays", other_decay(second_moment=[0.998])),
    "factored_decay": (small_fc_rule, "_initial_decays", other_decay(factored=[0.9, 0.98, 0.999])),
    "gradient_and_parameter_swapped": (small_fc_rule, "tensor_features", swapped(small_fc_rule.tensor_features, 0, 1)),
    "row_and_col_swapped": (small_fc_rule, "tensor_features", swapped(small_fc_rule.tensor_features, 7, 8)),
    "time_scale": (small_fc_rule, "TIME_SCALES", (1, 3, 10, 40, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)),
    "time_after_increment": (small_fc_rule, "time_features", lambda t, real=small_fc_rule.time_features: real(t + 1)),
}


@pytest.mark.usefixtures("fast_compilation", "in_jax")
@pytest.mark.parametrize("misreading", SMALL_FC_MISREADINGS)
def test_misreading_of_small_fc_fails(misreading, monkeypatch):
    monkeypatch.setattr(*SMALL_FC_MISREADINGS[misreading])
    assert max(replay(only(read("small_fc_mup_h32"), "tall")).values()) > 1


def test_forgotten_multiplier_fails_on_exactly_that_tensor(fast_compilation):
    reference = only(read("small_fc_mup_h32"), "bias", "conv")
    errors = replay(reference._replace(multipliers=reference.multipliers | {"conv": 1.0}))
    assert errors["conv"] > 1
    assert errors["bias"] < 0.5


CELO2_MISREADINGS = {
    "moment_eps": (celo2_rule, "MOMENT_EPS", 1e-6),
    "normalized_over_all_axes": (celo2_rule, "NORMALIZER", per_parameter_mlp.Normalizer(1e-9)),
    "gradient_clip": (velo_rule, "GRADIENT_CLIP", 1e6),
    "second_moment_decay": (celo2_rule, "_decays", lambda: celo2_decays._replace(second_moment=jnp.array([0.999]))),
    "four_newton_schulz_steps": (contrib, "scale_by_muon", partial(contrib.scale_by_muon, ns_steps=4)),
    "coefficients": (contrib, "scale_by_muon", partial(contrib.scale_by_muon, (3.4445, -4.7750, 2.0))),
}
celo2_decays = celo2_rule._decays()


@pytest.mark.usefixtures("fast_compilation", "in_jax")
@pytest.mark.parametrize("misreading", CELO2_MISREADINGS)
def test_misreading_of_celo2_fails(misreading, monkeypatch):
    monkeypatch.setattr(*CELO2_MISREADINGS[misreading])
    assert max(replay(only(read("celo2_orthogonal"), "conv")).values()) > 1


def without_forget_bias(reference):
    lstm = reference.theta["lstm"]
    i, g, f, o = jnp.split(lstm.gates.b, 4)
    gates = lstm.gates._replace(b=jnp.concatenate([i, g, f - 1, o]))
    return reference._replace(theta=reference.theta | {"lstm": lstm._replace(gates=gates)})


def test_lstm_without_forget_bias_fails(fast_compilation):
    assert max(replay(without_forget_bias(read("velo_mup"))).values()) > 1


VELO_MISREADINGS = {
    "moment_eps": (velo_rule, "MOMENT_EPS", 1e-5),
    "small_clip": (velo_rule, "SMALL_CLIP", 0.2),
    "gradient_clip": (velo_rule, "GRADIENT_CLIP", 1e6),
    "loss_warmup": (loss_features, "WARMUP", 1),
}


@pytest.mark.slow
@pytest.mark.usefixtures("fast_compilation", "in_jax")
@pytest.mark.parametrize("misreading", VELO_MISREADINGS)
def test_misreading_of_velo_fails(misreading, monkeypatch):
    monkeypatch.setattr(*VELO_MISREADINGS[misreading])
    assert max(replay(read("velo_mup")).values()) > 1


def test_a_trajectory_that_leaves_the_finite_numbers_never_agrees(fast_compilation):
    reference = only(read("small_fc_sp_h32"), "bias")
    broken = [{"bias": reference.gradients[0]["bias"] * np.nan}, *reference.gradients[1:]]
    config = replace(reference.config, zero_non_finite=False)
    errors = replay(reference._replace(gradients=broken, config=config))
    assert errors == {"bias": np.inf}


@pytest.fixture(scope="module")
def arrays():
    with np.load(FILES / "small_fc_sp_h4.npz") as file:
        return dict(file)


def saved(path, arrays):
    np.savez(path, **arrays)
    return path


def test_reads_what_the_file_holds(arrays):
    reference = read("small_fc_sp_h4")
    assert (reference.config.hidden_size, reference.config.parametrization) == (4, "sp")
    assert reference.config.step_mult == 0.001
    assert len(reference.gradients) == len(reference.expected) == len(reference.losses) == 24
    np.testing.assert_array_equal(reference.gradients[11]["conv"], arrays["grads/11/conv"])
    np.testing.assert_array_equal(reference.expected[23]["one"], arrays["expected/23/one"])
    assert read("velo_mup").num_steps == 40
    assert read("velo_mup").multipliers["tall"] == pytest.approx(1 / 9)


def test_missing_file(tmp_path):
    with pytest.raises(ReferenceFileError, match=r"nowhere\.npz does not exist"):
        read_reference(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file(tmp_path, share):
    whole = (FILES / "small_fc_sp_h4.npz").read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ReferenceFileError, match=r"cut\.npz is not a readable npz file"):
        read_reference(path)


def test_damaged_file(tmp_path):
    damaged = bytearray((FILES / "small_fc_sp_h4.npz").read_bytes())
    damaged[2000:2100] = bytes(100)
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged)
    with pytest.raises(ReferenceFileError, match=r"damaged\.npz is not a readable npz file"):
        read_reference(path)


def test_pickled_content_is_refused_not_run(tmp_path, arrays):
    pickled = saved(tmp_path / "pickled.npz", arrays | {"losses": np.array([{}], object)})
    with pytest.raises(ReferenceFileError, match="without pickles"):
        read_reference(pickled)


def test_other_architecture_is_named(tmp_path):
    path = saved(tmp_path / "celo9.npz", {"config/architecture": np.array("celo9")})
    with pytest.raises(ReferenceFileError, match="architecture celo9; mulo replays small_fc, velo, celo2"):
        read_reference(path)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("config/architecture", "architecture nothing"),
        ("losses", "losses is missing"),
        ("grads/3/conv", "3/conv is missing"),
        ("expected/23/bias", "23/bias is missing"),
        ("theta/nn/~/w1", "no array named nn/~/w1"),
    ],
)
def test_missing_array_is_named(tmp_path, arrays, missing, named):
    path = saved(tmp_path / "partial.npz", {name: array for name, array in arrays.items() if name != missing})
    with pytest.raises(ReferenceFileError, match=named):
        read_reference(path)


@pytest.mark.parametrize("group", ["params", "grads", "multiplier", "expected", "theta"])
def test_missing_group_is_named(tmp_path, arrays, group):
    rest = {name: array for name, array in arrays.items() if not name.startswith(f"{group}/")}
    with pytest.raises(ReferenceFileError, match=group):
        read_reference(saved(tmp_path / "partial.npz", rest))


def test_missing_multiplier_is_never_taken_to_be_one(tmp_path, arrays):
    rest = {name: array for name, array in arrays.items() if name != "multiplier/conv"}
    with pytest.raises(MultiplierError, match="conv"):
        replay(read_reference(saved(tmp_path / "partial.npz", rest)))
