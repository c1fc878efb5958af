"""Haiku's names and layouts: every array lands in its place, and none is missed, left over or of another size."""

import dataclasses

import jax
import numpy as np
import pytest

from mulo.errors import ReferenceFileError
from mulo.exchange.haiku import read_haiku
from mulo.optimizers import SmallFC, VeLO

# Written down from checkpoints in circulation. Sizes all differ, so that no transposition or mix-up fits.
H, L, P = 5, 7, 3
SMALL_FC = SmallFC(hidden_size=H)
SMALL_FC_SHAPES = {
    "nn/~/w0": (39, H),
    "nn/~/b0": (H,),
    "nn/~/w1": (H, H),
    "nn/~/b1": (H,),
    "nn/~/w2": (H, 2),
    "nn/~/b2": (2,),
    "momentum_decays": (3,),
    "rms_decays": (1,),
    "adafactor_decays": (3,),
}
VELO = VeLO(hidden_size=H, lstm_hidden_size=L, param_inits=P)
FIRST_LAYER = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
VELO_SHAPES = {
    **{f"ff_mod_stack/~/w0__{i}": (P, rows, H) for i, rows in enumerate(FIRST_LAYER)},
    "ff_mod_stack/~/b0": (P, H),
    "ff_mod_stack/~/w1": (P, H, H),
    "ff_mod_stack/~/b1": (P, H),
    "ff_mod_stack/~/w2": (P, H, 3),
    "ff_mod_stack/~/b2": (P, 3),
    "rnn_params/linear/w": (30, L),
    "rnn_params/linear/b": (L,),
    "rnn_params/linear_1/w": (30, L),
    "rnn_params/linear_1/b": (L,),
    "rnn_params/linear_2/w": (30, L),
    "rnn_params/linear_2/b": (L,),
    "rnn_params/rnn/linear/w": (2 * L, 4 * L),
    "rnn_params/rnn/linear/b": (4 * L,),
    "rnn_params/rnn_to_controls/w": (L, P),
    "rnn_params/rnn_to_controls/b": (P,),
    "rnn_params/step_size/w": (L, 1),
    "rnn_params/step_size/b": (1,),
    "lstm_init_state/hidden": (1, L),
    "lstm_init_state/cell": (1, L),
}
DEAD = {"rnn_params/linear/w", "rnn_params/linear/b"}
BOTH = pytest.mark.parametrize(
    ("config", "shapes"), [(SMALL_FC, SMALL_FC_SHAPES), (VELO, VELO_SHAPES)], ids=["small_fc", "velo"]
)
EVERY_ARRAY = pytest.mark.parametrize(
    ("config", "shapes", "name"),
    [
        (config, shapes, name)
        for config, shapes in ((SMALL_FC, SMALL_FC_SHAPES), (VELO, VELO_SHAPES))
        for name in shapes
        if name not in DEAD
    ],
)


def drawn(shapes):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_small_fc_arrays_land_in_their_places():
    arrays = drawn(SMALL_FC_SHAPES)
    theta = read_haiku(arrays, SMALL_FC)
    for part in ("w0", "b0", "w1", "b1", "w2", "b2"):
        np.testing.assert_array_equal(getattr(theta["mlp"], part), arrays[f"nn/~/{part}"])
    np.testing.assert_array_equal(theta["decays"].momentum, arrays["momentum_decays"])
    np.testing.assert_array_equal(theta["decays"].second_moment, arrays["rms_decays"])
    np.testing.assert_array_equal(theta["decays"].factored, arrays["adafactor_decays"])


def test_velo_arrays_land_in_their_places():
    arrays = drawn(VELO_SHAPES)
    theta = read_haiku(arrays, VELO)
    row = 0
    for i, rows in enumerate(FIRST_LAYER):
        part = theta["mlp"].w0[:, row : row + rows]
        np.testing.assert_array_equal(part, arrays[f"ff_mod_stack/~/w0__{i}"])
        row += rows
    for part in ("b0", "w1", "b1", "w2", "b2"):
        np.testing.assert_array_equal(getattr(theta["mlp"], part), arrays[f"ff_mod_stack/~/{part}"])
    layers = {
        "others": "linear_1",
        "own": "linear_2",
        "gates": "rnn/linear",
        "controls": "rnn_to_controls",
        "step_size": "step_size",
    }
    for ours, theirs in layers.items():
        np.testing.assert_array_equal(getattr(theta["lstm"], ours).w, arrays[f"rnn_params/{theirs}/w"])
        np.testing.assert_array_equal(getattr(theta["lstm"], ours).b, arrays[f"rnn_params/{theirs}/b"])
    np.testing.assert_array_equal(theta["lstm"].initial.hidden, arrays["lstm_init_state/hidden"])
    np.testing.assert_array_equal(theta["lstm"].initial.cell, arrays["lstm_init_state/cell"])


@BOTH
def test_weights_are_counted_once(config, shapes):
    theta = read_haiku(drawn(shapes), config)
    expected = sum(int(np.prod(shape)) for name, shape in shapes.items() if name not in DEAD)
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == expected


@pytest.mark.parametrize("present", [True, False])
def test_dead_layer_of_velo_changes_nothing(present):
    arrays = drawn(VELO_SHAPES)
    others = {
        name: array + 1 if name in DEAD else array for name, array in arrays.items() if present or name not in DEAD
    }
    jax.tree.map(np.testing.assert_array_equal, read_haiku(arrays, VELO), read_haiku(others, VELO))


@EVERY_ARRAY
def test_missing_array_is_named(config, shapes, name):
    arrays = drawn(shapes)
    del arrays[name]
    with pytest.raises(ReferenceFileError, match=f"no array named {name}"):
        read_haiku(arrays, config)


@EVERY_ARRAY
def test_array_of_another_size_is_an_error(config, shapes, name):
    arrays = drawn(shapes)
    arrays[name] = np.concatenate([arrays[name], arrays[name]], axis=-1)
    with pytest.raises(ReferenceFileError, match="θ has"):
        read_haiku(arrays, config)


@BOTH
def test_array_left_over_is_named(config, shapes):
    arrays = drawn(shapes) | {"nn/~/w3": np.zeros(2)}
    with pytest.raises(ReferenceFileError, match=r"does not know: nn/~/w3"):
        read_haiku(arrays, config)


@pytest.mark.parametrize("setting", ["hidden_size", "lstm_hidden_size", "param_inits"])
def test_settings_of_another_size_are_named(setting):
    config = dataclasses.replace(VELO, **{setting: 64})
    with pytest.raises(ReferenceFileError, match=f"{setting}={getattr(VELO, setting)}; expected 64"):
        read_haiku(drawn(VELO_SHAPES), config)


@pytest.mark.parametrize(("config", "shapes"), [(SMALL_FC, VELO_SHAPES), (VELO, SMALL_FC_SHAPES)])
def test_weights_of_another_architecture_are_refused(config, shapes):
    with pytest.raises(ReferenceFileError, match="no array named"):
        read_haiku(drawn(shapes), config)
