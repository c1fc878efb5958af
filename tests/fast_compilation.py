"""Compiler options for programs that run a few times: on CPUs they compile in half the time, into slower code."""

from functools import cache

OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@cache
def known() -> dict[str, int]:
    """The options that this version of XLA has; none where the default backend is no CPU."""
    import jax

    found: dict[str, int] = {}
    for name, value in OPTIONS.items() if jax.default_backend() == "cpu" else ():
        try:
            jax.jit(lambda x: x + 1, compiler_options={name: value})(1.0)
        except jax.errors.JaxRuntimeError:
            continue
        found[name] = value
    return found


def flags() -> str:
    """The same for XLA_FLAGS, for processes that tests start."""
    return " ".join(f"--{name}={str(value).lower()}" for name, value in known().items())
