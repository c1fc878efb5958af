"""What several tests need."""

import functools

from pathlib import Path

import jax
import pytest

FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@pytest.fixture(scope="session")
def jit():
    """`jax.jit` for programs that run a few times: on CPU it compiles several times faster, into slower code."""
    options = FAST_COMPILATION if jax.default_backend() == "cpu" else None
    return functools.partial(jax.jit, compiler_options=options)


@pytest.fixture(scope="session")
def compilation_cache(tmp_path_factory) -> Path:
    """A folder in which the processes that a test run starts share their compiled programs."""
    return tmp_path_factory.mktemp("compiled")
