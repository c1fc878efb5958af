"""Memory estimates against XLA's own, the refusal of what will not fit, and what is available."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import memory as measuring
from mulo.config import MLPConfig, RecipeConfig, SyntheticDataConfig, ValidationConfig
from mulo.data import load
from mulo.errors import MemoryLimitError
from mulo.jobs import memory, networks
from mulo.meta.estimators import Estimator
from mulo.optimizers import SmallFC, VeLO
from mulo.planning import available
from mulo.planning import memory as estimates
from mulo.planning.available import held_bytes, host_bytes
from mulo.tasks import make_tasks
from mulo.unroll import start
from tests.test_configs import composed

PAIRS = 3


def compiled(config, size, **changes):
    """XLA's bytes of a truncation (state, scratch) and the task."""
    task = make_tasks(MLPConfig(**changes), "mup", load(SyntheticDataConfig(shape=[48])))[0]
    recipe = RecipeConfig(pairs=PAIRS, particles_per_batch=size, truncation=3)
    estimator = Estimator(task, config, recipe)
    key, many = jax.random.key(0), 2 * PAIRS
    theta = jax.eval_shape(estimator.optimizer.init, key)
    training = jax.eval_shape(lambda theta, key: start(task, estimator.optimizer, theta, 1, key), theta, key)
    stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((many, *x.shape), x.dtype), (theta, training))
    rest = (jnp.zeros(many, jnp.int32), jnp.zeros(many, jnp.int32), task.data, jax.random.split(key, many), np.int32(0))
    found = estimator._compiled.lower(*stacked, *rest).compile().memory_analysis()
    return found.alias_size_in_bytes, found.temp_size_in_bytes, task, recipe


CASES = {
    "activations": (SmallFC(hidden_size=4), None, {"width": 32, "batch_size": 512}),
    "activations, one pair at a time": (SmallFC(hidden_size=4), 1, {"width": 32, "batch_size": 512}),
    "parameters": (VeLO(), None, {"width": 192, "batch_size": 8}),
    "parameters, one pair at a time": (VeLO(), 1, {"width": 192, "batch_size": 8}),
}


SLOW = [pytest.mark.slow]


@pytest.mark.parametrize(
    ("config", "size", "changes"),
    [pytest.param(*case, id=name, marks=SLOW if case[1] else ()) for name, case in CASES.items()],
)
def test_estimates_are_near_those_of_xla(config, size, changes):
    state, scratch, task, recipe = compiled(config, size, **changes)
    own = estimates.training(task, config, estimates.this_platform())
    peak = estimates.meta_training([own], recipe, estimates.this_platform())
    assert 2 * PAIRS * own.state == pytest.approx(state, rel=0.01)
    assert 0.7 < estimates._moving(own, PAIRS, size or PAIRS) / scratch < 1.6
    assert peak.total > state + 0.7 * scratch


WIDE = ("task=mlp", "task.width=256", "task.batch_size=512", "optimizer=small_fc_mup", "recipe=narrow")


def peak(*overrides):
    """Of a job whose validations, on as many seeds as there are particles, need most."""
    config = composed(*WIDE, *overrides)
    platform = estimates.this_platform()
    own = memory.trainings(networks.trained(config), platform)
    return estimates.meta_training(own, config.recipe, platform).total


def test_estimates_follow_the_size_of_batches():
    assert peak("recipe.particles_per_batch=1") < peak("recipe.particles_per_batch=4") < peak()


def refusal(config, available):
    platform = estimates.this_platform()
    with pytest.raises(MemoryLimitError) as caught:
        memory.check_meta_training(config, networks.trained(config), platform, available)
    return str(caught.value)


def test_a_job_that_does_not_fit_is_told_what_would():
    config = composed(*WIDE)
    said = refusal(config, peak("recipe.particles_per_batch=2"))
    assert "recipe.particles_per_batch=2 would fit" in said
    assert "are available" in said
    peak_of_all = peak()
    assert "mlp_w256_d3 needs most" in refusal(config, estimates.PROCESS + 0.5 * (peak_of_all - estimates.PROCESS))
    assert "fewer networks in one job" in refusal(config, estimates.PROCESS)


def test_every_device_of_a_cpu_holds_a_copy_of_the_data():
    config = composed("task=mlp", "task.width=16", "optimizer=small_fc_mup")
    platform, trained = estimates.this_platform(), networks.trained(config)
    own = memory.trainings(trained, platform)
    one, four = (estimates.meta_training(own, config.recipe, platform, devices).total for devices in (1, 4))
    assert four - one == 3 * sum(x.nbytes for x in jax.tree.leaves(trained.tasks[0].data))
    with pytest.raises(MemoryLimitError, match="JAX_NUM_CPU_DEVICES=1 would fit"):
        memory.check_meta_training(config, trained, platform, one, devices=4)


def test_a_main_job_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000_000)
    with pytest.raises(MemoryLimitError, match=r"evaluation of mlp_w2048_d3.*evaluation\.widths"):
        memory.check(composed("evaluation.widths=[2048]"))
    memory.check(composed("mode=meta_train"))


def test_settings_that_are_tuned_at_once_count(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000_000)
    arguments = ("optimizer=adamw", "task=mlp", "task.width=1024", "evaluation.widths=[64]")
    with pytest.raises(MemoryLimitError, match=r"tuning on mlp_w1024_d3.*tuning\.settings_at_once=16"):
        memory.check(composed(*arguments))
    memory.check(composed(*arguments, "tuning.settings_at_once=2"))


OWN = estimates.Footprint("one", state=100, work=10, params=2, theta=0, data=7, operations=1)
CPU, GPU = (estimates.Platform(cpu=cpu, native=cpu) for cpu in (True, False))


def parts(platform, devices=1, **recipe):
    found = estimates.meta_training([OWN], RecipeConfig(pairs=4, **recipe), platform, devices)
    return found.moment, found.data, found.state, found.work


def test_a_save_writes_copies_from_the_host():
    """8 trainings of 100: a step takes 8·10, a validation 800 more for its trainings, a save two copies."""
    assert parts(CPU) == ("a save", 7, 800, 1600)
    assert parts(GPU) == ("a validation", 7, 800, 880)


def test_a_validation_of_other_networks_counts_with_its_own_trainings():
    """3 seeds on 2 devices: 2 trainings on one of them, which take 2·(1000 + 20)."""
    wide = estimates.Footprint("wide", state=1000, work=20, params=2, theta=0, data=9, operations=1)
    recipe = RecipeConfig(pairs=4, validation=ValidationConfig(seeds=3))
    found = estimates.meta_training([OWN], recipe, GPU, 2, [wide])
    assert (found.moment, found.data, found.state, found.work) == ("a validation", 16, 400, 2040)


def test_devices_of_a_cpu_share_its_memory_and_accelerators_have_their_own():
    """One pair of a device at a time, with a copy of its state: 2·(10 + 100)."""
    assert parts(CPU, 2, particles_per_batch=1) == ("a save", 14, 800, 1600)
    assert parts(GPU, 2, particles_per_batch=1) == ("a validation", 7, 400, 400 + 220)


def test_the_process_and_its_compiler_count_on_the_host_alone():
    found = [estimates.meta_training([OWN, OWN], RecipeConfig(pairs=4), platform) for platform in (CPU, GPU)]
    assert [peak.process for peak in found] == [estimates.PROCESS, 0]
    assert [peak.programs for peak in found] == [2 * estimates.PER_OPERATION, 0]
    assert all(peak.total == sum(peak.parts.values()) for peak in found)


def test_what_this_process_holds_is_available_to_it(tmp_path, monkeypatch):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmRSS:\t  90 kB\nRssAnon:\t  50 kB\n", encoding="utf-8")
    assert held_bytes(status) == 51_200
    assert held_bytes(tmp_path / "nowhere") == 0
    monkeypatch.setattr(available, "host_bytes", lambda: 1000)
    before = available.available_bytes()
    held = np.ones(200_000_000, np.uint8)  # so many that what other tests left and is given back now does not matter
    assert available.available_bytes() - before == pytest.approx(held.nbytes, rel=0.2)


def test_the_smaller_of_machine_and_container_is_available(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:   50 kB\n", encoding="utf-8")
    assert host_bytes(meminfo, tmp_path) == 51_200
    for name, content in (("memory.max", "30000"), ("memory.current", "9000"), ("memory.stat", "inactive_file 4000\n")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert host_bytes(meminfo, tmp_path) == 25_000
    (tmp_path / "memory.max").write_text("max", encoding="utf-8")
    assert host_bytes(meminfo, tmp_path) == 51_200
    old = tmp_path / "memory"
    old.mkdir()
    for name, content in (("limit_in_bytes", "20000"), ("usage_in_bytes", "9000"), ("stat", "total_inactive_file 0\n")):
        (old / f"memory.{name}").write_text(content, encoding="utf-8")
    assert host_bytes(meminfo, tmp_path) == 11_000
    assert host_bytes(tmp_path / "nowhere", tmp_path / "nowhere") is None


@pytest.mark.slow
@pytest.mark.parametrize("case", measuring.CASES)
def test_estimates_are_near_what_processes_hold(case, tmp_path):
    found = measuring.measure(case, tmp_path)
    assert found.planned.total == pytest.approx(found.resident, rel=0.4)
