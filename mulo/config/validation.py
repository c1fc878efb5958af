"""Settings of validations, by which candidates for θ are compared during meta-training."""

from dataclasses import dataclass, fields

from mulo.config.settings import setting
from mulo.errors import ConfigError

SCORES = ("mean", "stable")


@dataclass(frozen=True)
class ValidationConfig:
    """On which networks θ is validated, how long, and what counts."""

    widths: list[int] | None = setting(None, low=1, high=1_000_000)
    """Of every architecture of the task, such as wider ones than those of meta-training; null: the task's own."""
    depths: list[int] | None = setting(None, low=1, high=1024)
    """Each at every width; null: the task's own."""
    num_steps: int | None = setting(None, low=1)
    """Inner steps of each training, rounded to whole truncations; null: recipe.max_length."""
    seeds: int | None = setting(None, low=1)
    """Trainings of each network; null: 2·pairs."""
    final_share: float = setting(1.0, above=0, high=1)
    """The loss of a training is the mean over this last share of its steps, rounded to whole truncations."""
    score: str | None = setting(None, choices=SCORES)
    """`mean`: mean clipped loss of all trainings. `stable`: a training that meets a loss that is not finite, or whose
    loss is above that of its first step, counts as its first loss; then the mean over seeds and the geometric mean over
    networks. null: `mean` if nothing else here is set, else `stable`."""

    def check_together(self, prefix: str) -> None:
        """A size given twice would count double."""
        for key in ("widths", "depths"):
            sizes = getattr(self, key) or []
            if len(set(sizes)) < len(sizes):
                raise ConfigError.value(f"{prefix}{key}", sizes, "a list without repetitions")

    @property
    def stable(self) -> bool:
        """Whether the score is `stable`."""
        if self.score is not None:
            return self.score == "stable"
        return any(getattr(self, spec.name) != spec.default for spec in fields(self))

    @property
    def other_networks(self) -> bool:
        """Whether validations have networks of their own."""
        return self.widths is not None or self.depths is not None
