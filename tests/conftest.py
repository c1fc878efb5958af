"""What several tests need."""

import functools
import os
import tempfile

# Before JAX is imported: programs that tests, workers and the processes they start have in common compile once.
if "MULO_TEST_CACHE" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="mulo-compiled-")
    os.environ["MULO_TEST_CACHE"] = os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

import jax
import pytest

from .fast_compilation import known


@pytest.fixture(scope="session")
def compiler_options():
    """Compiler options for programs that run a few times: on CPU they compile faster, into slower code."""
    return known()


@pytest.fixture(scope="session")
def jit(compiler_options):
    """`jax.jit` with these options."""
    return functools.partial(jax.jit, compiler_options=compiler_options)
