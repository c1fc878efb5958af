import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def fast_compilation():
    """Compiling takes nearly all of these tests' time, and what is compiled is tiny."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
