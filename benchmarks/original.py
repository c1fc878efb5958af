"""google/learned_optimization beside mulo: its own code in a process of its own, which takes its turns when asked.

Its environment needs JAX of the version that mulo runs on, and with it `dm-haiku flax chex gin-config absl-py`; its
code is installed there without what it depends on, or its checkout is on that environment's path:

    python -m venv original
    original/bin/pip install jax==<as here> dm-haiku flax chex gin-config absl-py
    git clone https://github.com/google/learned_optimization
    original/bin/pip install --no-deps -e learned_optimization
    MULO_BENCH_ORIGINAL=original/bin/python make bench NAMES=update

Where the variable is not set and this environment lacks the package, its rows are left out.
"""

import json
import os
import subprocess
import sys
import types
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

VARIABLE = "MULO_BENCH_ORIGINAL"
FORM = "learned_optimization"
"""As rows name it."""
MISSING = f"google/learned_optimization is not here, so its rows are left out; {VARIABLE} names a Python that has it."
ROOT = Path(__file__).parents[1]


def python() -> str | None:
    """The interpreter whose environment has the package; None where there is none."""
    return os.environ.get(VARIABLE) or (sys.executable if find_spec(FORM) else None)


class Original:
    """The package's optimizer of one name and width, as `contestant.Contestant` is ours."""

    def __init__(self, interpreter: str, architecture: str, width: int) -> None:
        command = [interpreter, "-m", "benchmarks.original", architecture, str(width)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        self._child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        told = self._answer()
        self.parameters, self.scratch, self.compile_seconds = told["parameters"], told["scratch"], told["compile_s"]
        self.version: str = told["version"]
        self.times: list[float] = []

    @property
    def ms(self) -> float:
        """Median of all calls timed so far."""
        return 1e3 * median(self.times)

    def turn(self) -> None:
        """Lets it time some consecutive calls."""
        assert self._child.stdin is not None
        print("turn", file=self._child.stdin, flush=True)
        self.times += self._answer()

    def close(self) -> None:
        """Ends its process."""
        self._child.communicate()

    def _answer(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"google/learned_optimization ended with code {self._child.wait()}; see above.")
        return json.loads(line)


def _serve(architecture: str, width: int) -> None:
    """Makes the contestant and gives it a turn for every line read."""
    _stand_in_for_tensorflow()
    import jax
    import jax.numpy as jnp

    from benchmarks.contestant import Contestant, gradients_of, network

    learned = _optimizer(architecture)
    key, params = jax.random.PRNGKey(0), network(width)
    rule = learned.opt_fn(learned.init(key))

    def step(state: Any, gradients: Any) -> Any:
        return rule.update(state, gradients, loss=jnp.float32(1), key=key)

    own = Contestant(step, rule.init(params, num_steps=100, key=key), gradients_of(params))
    told = {"parameters": own.parameters, "scratch": own.scratch, "compile_s": own.compile_seconds}
    print(json.dumps(told | {"version": _version()}), flush=True)
    for _ in sys.stdin:
        before = len(own.times)
        own.turn()
        print(json.dumps(own.times[before:]), flush=True)


def _optimizer(architecture: str) -> Any:
    """Sizes as published: small_fc of µLO, VeLO's LSTM of 512 units and 256 copies."""
    if architecture == "velo":
        from learned_optimization.research.general_lopt.hyper_v2 import HyperV2

        return HyperV2(lstm_hidden_size=512, param_inits=256)
    from learned_optimization.learned_optimizers.adafac_mlp_lopt import AdafacMLPLOpt

    return AdafacMLPLOpt(hidden_size=32)


def _stand_in_for_tensorflow() -> None:
    """It is imported to write summaries, which nothing here asks for."""
    if find_spec("tensorflow") is None:
        last: Any = types.ModuleType("tensorflow.compat.v2")
        last.enable_v2_behavior = lambda: None
        middle: Any = types.ModuleType("tensorflow.compat")
        middle.v2 = last
        sys.modules |= {"tensorflow": types.ModuleType("tensorflow"), middle.__name__: middle, last.__name__: last}


def _version() -> str:
    """Its commit where it is a checkout, else the package's version."""
    import learned_optimization

    folder = Path(learned_optimization.__path__[0])
    asked = ["git", "log", "-1", "--format=%h", "--abbrev=12", "--", "."]
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    try:
        return done.stdout.strip() or version(FORM)
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
