"""What every mode that computes is given."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mulo.config import Config
from mulo.process.stopping import Stop
from mulo.reporting.wandb_mirror import WandbMirror


@dataclass(frozen=True)
class JobContext:
    """One job under way: what it computes, and where files and messages go."""

    config: Config
    folder: Path
    console: Console
    mirror: WandbMirror
    stop: Stop
