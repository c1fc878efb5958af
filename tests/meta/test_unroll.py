"""A training keeps its types from step to step, so that one compiled program serves all of it."""

from functools import partial

import jax
import pytest

from mulo.config import MLPConfig, SyntheticDataConfig
from mulo.data import load
from mulo.optimizers import AdamW, SmallFC, VeLO
from mulo.tasks import make_tasks
from mulo.unroll import start, unroll

CONFIGS = [VeLO(), SmallFC(), AdamW(), AdamW(schedule="warmup_cosine")]


def types(tree):
    """Weakly typed arrays look like others, and make the second call of a program compile again."""
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}-{getattr(config, 'schedule', '')}")
@pytest.mark.parametrize("parametrization", ["sp", "mup"])
def test_types_do_not_change(config, parametrization):
    task = make_tasks(MLPConfig(width=8), parametrization, load(SyntheticDataConfig()))[0]
    optimizer = config
    theta, key = optimizer.init(jax.random.key(0)), jax.random.key(0)
    begin = partial(start, task, optimizer, theta, 10)
    before = jax.eval_shape(begin, key)
    after = jax.eval_shape(
        lambda k: unroll(task, optimizer, theta, begin(k), 10, task.data, jax.random.split(k, 2))[0], key
    )
    assert types(before) == types(after)
