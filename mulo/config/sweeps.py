"""What a sweep asks and claims, and where its record goes."""

from dataclasses import dataclass, field
from typing import Any

from mulo.config.settings import setting
from mulo.errors import ConfigError

SCALES = ("smoke", "cpu", "paper")
FIGURES = ("over_width", "over_depth", "over_steps", "over_setting", "transfer", "curves", "ranks", "coordinate_check")
SPLITS = ("train_loss", "test_loss")


@dataclass(frozen=True)
class ClaimConfig:
    """A claim that one method ends with a lower loss than another, to be compared with the results."""

    text: str = ""
    """In words, as the paper or the question has it."""
    better: str = ""
    """The method's name in results."""
    than: str = ""
    at: dict[str, Any] = field(default_factory=dict)
    """Which results are compared: by column or varied key, a value or `smallest` or `largest`."""
    than_at: dict[str, Any] = field(default_factory=dict)
    """Which results of the other method; empty: the same."""
    loss: str = setting("train_loss", choices=SPLITS)


@dataclass(frozen=True)
class SweepConfig:
    """The head of a file under sweeps/: its question, its cost, and the claims that its results are compared with."""

    name: str | None = None
    """`figure/…`, `ablation/…` or `question/…`: where the file lies, and where the jobs' directories are."""
    question: str = ""
    paper: str = ""
    """What of the paper it repeats, and what the paper found."""
    command: str = ""
    cost: dict[str, str] = field(default_factory=dict)
    """In words, by scale."""
    figure: str = setting("over_width", choices=FIGURES)
    """The picture: final loss over a size, steps or the setting below (transfer: at each width), ranks, or changes."""
    setting: str | None = None
    """For figure=over_setting and transfer: the key that varies, such as `optimizer.step_mult`."""
    claims: list[ClaimConfig] = field(default_factory=list)

    def check_together(self, prefix: str) -> None:
        """What a figure needs."""
        if (self.figure in ("over_setting", "transfer")) != (self.setting is not None):
            allowed = "a key such as optimizer.step_mult with figure=over_setting or transfer, and null with all others"
            raise ConfigError.value(f"{prefix}setting", self.setting, allowed)


@dataclass(frozen=True)
class ReportConfig:
    """What mode=report gathers, and where it puts the record."""

    of: str | None = setting(None, path=True)
    """The directory of a sweep's jobs, or an existing record, which is written anew from the data it holds."""
    into: str = setting("experiments", path=True)
    """The record is the folder `name` in there."""
    name: str | None = None
    """null: the sweep's own, or the record's."""
