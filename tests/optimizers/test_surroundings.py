"""The contract under JAX's global flags and on meshes of two devices, as a user's program may have set them."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..command import environment
from .surroundings import MESHES

CONTRACT = Path(__file__).parent / "test_contract.py"
FLAGS = (
    "JAX_ENABLE_X64=1",
    "JAX_NUMPY_RANK_PROMOTION=raise",
    "JAX_DEBUG_NANS=1",
    "JAX_DEFAULT_MATMUL_PRECISION=bfloat16",
)
SETTINGS = [*FLAGS, *(f"MULO_TEST_MESH={mesh}" for mesh in MESHES)]


def contract(*settings, selected="not nothing"):
    own = environment() | dict(setting.split("=") for setting in settings)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", str(CONTRACT), "-k", selected]
    done = subprocess.run(command, env=own, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout or "[100%]" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds(setting):
    contract(setting, "MULO_KERNEL=native", "JAX_NUM_CPU_DEVICES=2")


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["JAX_ENABLE_X64=1", "MULO_TEST_MESH=auto", "MULO_TEST_MESH=explicit"])
def test_the_contract_holds_in_jax_alone(setting):
    contract(setting, "MULO_KERNEL=jax", "JAX_NUM_CPU_DEVICES=2")


@pytest.mark.slow
def test_the_contract_holds_under_strict_promotion_of_dtypes():
    """Of what does not contain optax's Adam, which itself does not pass, and of `multi_transform` with optax's SGD."""
    learned = "(small_fc or velo) and not test_multi_steps"
    contract("JAX_NUMPY_DTYPE_PROMOTION=strict", "JAX_NUM_CPU_DEVICES=1", selected=learned)
