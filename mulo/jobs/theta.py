"""Which θ a job runs under."""

from mulo import checkpoint, randomness
from mulo.config import Config
from mulo.exchange.reference import read_theta
from mulo.types import Theta


def configured_theta(config: Config) -> Theta:
    """θ of the checkpoint or reference file where one is given, else a fresh one (for a baseline: its settings)."""
    if config.checkpoint is not None:
        return checkpoint.load(config.checkpoint).theta
    if config.reference is not None:
        return read_theta(config.reference)
    return config.optimizer.init(randomness.branch(randomness.root(config.seed), "theta"))
