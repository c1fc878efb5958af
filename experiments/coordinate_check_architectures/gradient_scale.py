"""Is it the size of gradients that bends a learned optimizer's slopes? The same check with gradients times width/32.

µP's gradients fall as 1/width, and the features of learned optimizers have constants (1e-5 in the normaliser, 1e-6
beside v, 1e-9 in Adafactor's factors) below which they are no longer free of scale.

python -m experiments.coordinate_check_architectures.gradient_scale
"""

from pathlib import Path
from typing import Any

import pandas as pd

import mulo
from mulo.config import TransformerConfig
from mulo.config.data import StdlibTextDataConfig
from mulo.data import load
from mulo.evaluation import coordinate_check as check
from mulo.evaluation.coordinate_rows import CHANGES
from mulo.randomness import root
from mulo.tasks import make_tasks

FOLDER = Path(__file__).parent
THETA = FOLDER.parent / "meta_training_architectures" / "theta_mixed"
TRAINED_AT = 32
"""Width of the networks that θ was meta-trained on."""


class Scaled:
    """A task whose loss, and with it every gradient, is multiplied by its width."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, params: Any, batch: Any, drawn: Any = ()) -> Any:
        """The task's own times width/32."""
        return self._task.loss(params, batch, drawn) * (self._task.width / TRAINED_AT)


def main() -> None:
    """Writes gradient_scale.csv with the rows of both checks."""
    stored, dataset = mulo.load(THETA), load(StdlibTextDataConfig())
    config = TransformerConfig(depth=1, heads=1, batch_size=8, output_init="normal")
    tasks = make_tasks(config, "mup", dataset, [64, 256, 1024])
    inputs, _ = dataset.fixed(dataset.arrays, "test", 8)
    rows = []
    for name, own in (("as they are", tasks), ("times width", [Scaled(task) for task in tasks])):
        settings: Any = {"times": (1, 2, 10), "seeds": 2, "key": root(0), "names": (name, "mup")}
        rows.append(check.coordinate_check(own, stored.optimizer, stored.theta, inputs, **settings))
    CHANGES.write(pd.concat(rows), FOLDER / "gradient_scale.csv")


if __name__ == "__main__":
    main()
