"""Runs mulo as its user does."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .fast_compilation import flags

TINY = (
    "task.widths=[4]",
    "task.depth=1",
    "task.batch_size=8",
    "optimizer=small_fc_mup",
    "optimizer.hidden_size=2",
    "recipe.truncation=2",
    "recipe.min_length=2",
    "recipe.max_length=8",
    "recipe.pairs=2",
    "recipe.outer_steps=6",
    "recipe.outer.warmup_steps=1",
    "recipe.save_every=2",
    "recipe.validate_every=3",
    "evaluation.num_steps=4",
    "evaluation.seeds=2",
    "logger=none",
)
"""Settings of a main job that takes seconds."""


class Done(NamedTuple):
    code: int
    out: str
    err: str
    seconds: float
    """Processor time, which unlike the clock does not depend on what else the machine does."""


def environment() -> dict[str, str]:
    """This process's, with a terminal wide enough for tables, and programs that compile fast."""
    return os.environ | {"COLUMNS": "160", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags()}".strip()}


def python_on(devices: int, *arguments: str) -> str:
    """What Python prints, started in the repository's root with as many CPU devices."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment() | {"JAX_NUM_CPU_DEVICES": str(devices)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def mulo(*arguments: str, cwd: Path) -> Done:
    before = _children_seconds()
    command = [sys.executable, "-m", "mulo.run", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, encoding="utf-8", timeout=300)
    return Done(done.returncode, done.stdout, done.stderr, _children_seconds() - before)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
