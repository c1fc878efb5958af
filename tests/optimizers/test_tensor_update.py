"""Both implementations of one tensor's update against the straightforward form, and against each other."""

import os
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import straightforward
from mulo import kernel_library
from mulo.errors import KernelError
from mulo.optimizers import (
    Celo2,
    SmallFC,
    VeLO,
    accumulators,
    celo2_rule,
    native,
    per_parameter_mlp,
    small_fc_rule,
    tensor_statistics,
    tensor_update,
    velo_rule,
)

RULES = {
    "small_fc": (small_fc_rule.rule_of(SmallFC()), 39, 2),
    "velo": (velo_rule.rule_of(VeLO(exp_mult=0.1)), 30, 3),
    "celo2": (celo2_rule.rule_of(Celo2()), 30, 3),
}
HIDDEN = {"small_fc": (4, 8, 32), "velo": (4, 5), "celo2": (8, 12)}
CASES = [(name, hidden) for name, sizes in HIDDEN.items() for hidden in sizes]
SHAPES = [
    (),
    (7,),
    (20000,),
    (1, 1),
    (1, 40),
    (40, 1),
    (6, 6),
    (33, 33),
    (45, 700),
    (700, 45),
    (300, 3),
    (5, 3, 40),
    (40, 5, 3),
    (2, 1, 3, 4, 2),
    (3, 3, 17, 40),
]
DECAYS = accumulators.Decays(jnp.array([0.9, 0.99, 0.999]), jnp.array([0.95]), jnp.array([0.8, 0.9, 0.99]))


def mlp_of(rng, inputs, hidden, outputs):
    sizes = [(inputs, hidden), (hidden, hidden), (hidden, outputs)]
    parts = [np.float32(rng.standard_normal(shape) / 3) for size in sizes for shape in (size, size[1:])]
    return per_parameter_mlp.MLPWeights(*map(jnp.asarray, parts))


def given(name, hidden, shape, seed=0):
    """Weights, gradient, parameter, accumulators of two earlier steps, and small_fc's time features."""
    _, inputs, outputs = RULES[name]
    rng = np.random.default_rng(seed)
    draw = [jnp.asarray(rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 1), jnp.float32) for _ in range(4)]
    state = accumulators.initial(jnp.zeros(shape), DECAYS)
    for gradient in draw[:2]:
        state = accumulators.update(state, gradient, DECAYS)
    constants = small_fc_rule.time_features(jnp.int32(3)) if name == "small_fc" else None
    return mlp_of(rng, inputs, hidden, outputs), DECAYS, *draw[2:], state, constants


def scale_free(name):
    """The rule, its features in units of the gradient; VeLO's and Celo2's then do not clip at ±1000."""
    rule = RULES[name][0]
    return replace(rule, scale_free=True, clip=np.inf)


def shapes_for(name):
    return [shape for shape in SHAPES if name != "celo2" or len(shape) >= 2]


@pytest.fixture
def in_jax(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)


@pytest.fixture(scope="module")
def expected(jit):
    """Of all cases, by the straightforward form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "available", lambda: False)
        patch.setattr(per_parameter_mlp, "apply", straightforward.apply)
        return {
            (name, hidden, shape): jit(lambda *args, rule=RULES[name][0]: tensor_update.update(rule, *args))(
                *given(name, hidden, shape)
            )
            for name, hidden in CASES
            for shape in shapes_for(name)
        }


def check(actual, reference, tolerance=1e-5):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(reference), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert a.shape == e.shape
        assert np.linalg.norm(a - e) <= tolerance * np.linalg.norm(e)


@pytest.mark.parametrize(("name", "hidden"), CASES)
def test_the_native_kernel_equals_the_straightforward_form(name, hidden, expected):
    assert native.available(), "these tests need a C++ compiler"
    for shape in shapes_for(name):
        check(tensor_update.update(RULES[name][0], *given(name, hidden, shape)), expected[name, hidden, shape])


@pytest.mark.parametrize(("name", "hidden"), [("small_fc", 4), ("small_fc", 32), ("velo", 4), ("celo2", 8)])
def test_the_jax_form_equals_the_straightforward_form(name, hidden, expected, in_jax, jit):
    update = jit(lambda *args: tensor_update.update(RULES[name][0], *args))
    for shape in ((7,), (45, 700), (5, 3, 40)):
        if shape in shapes_for(name):
            check(update(*given(name, hidden, shape)), expected[name, hidden, shape])


SCALE_FREE_SHAPES = [(), (20000,), (45, 700), (5, 3, 40), (3, 3, 17, 40)]
"""Of these all but the first and (5, 3, 40) are cut into several chunks."""


@pytest.mark.parametrize(("name", "hidden"), [("small_fc", 8), ("velo", 4), ("celo2", 8)])
def test_both_forms_are_scale_free_alike(name, hidden, monkeypatch, jit):
    shapes = [shape for shape in SCALE_FREE_SHAPES if shape in shapes_for(name)]
    cases = [given(name, hidden, shape) for shape in shapes]
    found, published = (
        [tensor_update.update(rule, *case) for case in cases] for rule in (scale_free(name), RULES[name][0])
    )
    monkeypatch.setattr(native, "available", lambda: False)
    expected = jit(lambda cases: [tensor_update.update(scale_free(name), *case) for case in cases])(cases)
    apart = []
    for actual, wanted, (plain, state) in zip(found, expected, published, strict=True):
        check(actual, wanted)
        check(actual[1], state, 1e-6)
        apart.append(np.linalg.norm(actual[0] - plain) / np.linalg.norm(plain))
    assert max(apart) > 1e-4


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 0, 4)])
def test_a_tensor_without_entries_moves_nowhere(shape):
    step, _ = tensor_update.update(RULES["velo"][0], *given("velo", 4, shape))
    assert step.shape == shape


PUBLISHED, SCALE_FREE = RULES["velo"][0], scale_free("velo")


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((7,), PUBLISHED),
        ((130, 150), PUBLISHED),
        ((5, 3, 40), PUBLISHED),
        ((9000,), SCALE_FREE),
        ((130, 150), SCALE_FREE),
    ],
)
def test_a_batch_gives_each_the_bits_it_has_alone(shape, rule):
    """Also across the number of threads: alone, a tensor's chunks are shared out; in a batch, they are not."""
    mlp, decays, *rest = given("velo", 4, shape)
    others = given("velo", 4, shape, seed=1)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), tuple(rest[:3]), tuple(others[2:5]))
    mlps = jax.tree.map(lambda *x: jnp.stack(x), mlp, others[0])
    both = jax.jit(jax.vmap(lambda w, g, p, s: tensor_update.update(rule, w, decays, g, p, s)))(mlps, *stacked)
    for i, args in enumerate((rest, others[2:])):
        alone = tensor_update.update(rule, (mlp, others[0])[i], decays, *args)
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, i=i: x[i], both), alone)


@pytest.mark.parametrize("form", ["native", "jax"])
def test_gradients_are_cleaned_as_the_rule_says(form, monkeypatch):
    if form == "jax":
        monkeypatch.setattr(native, "available", lambda: False)
    mlp, decays, g, p, state, constants = given("small_fc", 4, (6, 6))
    dirty = g.at[1, 2].set(jnp.nan).at[3, 3].set(-jnp.inf)
    clean = g.at[1, 2].set(0).at[3, 3].set(0)
    rule = RULES["small_fc"][0]
    check(
        tensor_update.update(rule, mlp, decays, dirty, p, state, constants),
        tensor_update.update(rule, mlp, decays, clean, p, state, constants),
        1e-6,
    )
    step, _ = tensor_update.update(replace(rule, zero_non_finite=False), mlp, decays, dirty, p, state, constants)
    assert not np.all(np.isfinite(step))
    clipped = tensor_update.update(replace(rule, clip=0.01), mlp, decays, 100 * g, p, state, constants)
    check(clipped, tensor_update.update(rule, mlp, decays, jnp.clip(100 * g, -0.01, 0.01), p, state, constants), 1e-6)


@pytest.mark.parametrize("shape", [(), (7,), (300, 200), (3, 1, 50)])
@pytest.mark.parametrize("form", ["native", "jax"])
def test_statistics_are_those_of_numpy(shape, form, monkeypatch):
    if form == "jax":
        monkeypatch.setattr(native, "available", lambda: False)
    *_, p, state, _ = given("velo", 4, shape)
    m, v = (np.float64(x).reshape(len(x), -1) for x in (state.momentum, state.second_moment))
    mean = m.mean(1)
    expected = [np.mean(np.float64(p) ** 2), mean, v.mean(1), m.var(1), np.mean((v - mean[:, None]) ** 2, 1)]
    for found, wanted in zip(tensor_statistics.statistics(p, state), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7 * np.max(np.abs(m)) ** 2)


def test_state_is_updated_in_place():
    """No copy of the accumulators, and nothing of the tensor's size but the step itself."""
    n = 512
    args = given("small_fc", 32, (n, n))

    def step(state, mlp, decays, g, p, constants):
        return tensor_update.update(RULES["small_fc"][0], mlp, decays, g, p, state, constants)

    mlp, decays, g, p, state, constants = args
    compiled = jax.jit(step, donate_argnums=0).lower(state, mlp, decays, g, p, constants).compile()
    memory = compiled.memory_analysis()
    assert memory.temp_size_in_bytes < 0.1 * n * n
    assert memory.alias_size_in_bytes > 16 * n * n
    compiled(state, mlp, decays, g, p, constants)
    assert state.momentum.is_deleted()


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, encoding="utf-8", check=False
    )


ASK = "from mulo.optimizers import native; print(native.available())"


def test_the_form_can_be_chosen(tmp_path):
    assert python(ASK, MULO_KERNEL="jax").stdout == "False\n"
    assert python(ASK, MULO_KERNEL="native").stdout == "True\n"
    wrong = python(ASK, MULO_KERNEL="fortran")
    assert "MULO_KERNEL=fortran is not known: give one of auto, native, jax" in wrong.stderr


def test_without_a_compiler_updates_run_in_jax_and_say_so(monkeypatch):
    native._decided.cache_clear()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    try:
        monkeypatch.setenv("MULO_KERNEL", "native")
        with pytest.raises(KernelError, match=r"no C\+\+ compiler was found"):
            native.available()
        monkeypatch.setenv("MULO_KERNEL", "auto")
        with pytest.warns(UserWarning, match=r"without their native kernel.*no C\+\+ compiler was found"):
            assert not native.available()
    finally:
        native._decided.cache_clear()


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch):
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho no such option >&2\nexit 1\n", encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KernelError, match=r"broken cannot compile it: no such option"):
        kernel_library.library()
    assert not list((tmp_path / "mulo").iterdir())
