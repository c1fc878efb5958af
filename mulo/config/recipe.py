"""Settings of meta-training."""

from dataclasses import dataclass, field

from mulo.config.estimators import ESTIMATORS, EstimatorTraits
from mulo.config.settings import setting
from mulo.config.validation import ValidationConfig
from mulo.errors import ConfigError


@dataclass(frozen=True)
class ScaleConfig:
    """Sizes that go with a recipe's budget; task and evaluation follow them unless told otherwise."""

    width: int = setting(32, low=1)
    widths: list[int] = setting([16, 64], low=1)
    batch_size: int = setting(64, low=1)
    """Of MLPs."""
    image_batch_size: int = setting(16, low=1)
    """Of vision transformers and residual networks."""
    text_batch_size: int = setting(8, low=1)
    """Sequences of text."""
    evaluation_steps: int = setting(200, low=1)
    evaluation_seeds: int = setting(3, low=1)


@dataclass(frozen=True)
class OuterConfig:
    """The outer optimizer: AdamW on θ with linear warm-up and cosine decay."""

    learning_rate: float = setting(3e-2, low=0)
    warmup_start: float = setting(0.0, low=0)
    warmup_steps: int = setting(10, low=0)
    final_learning_rate: float = setting(3e-3, low=0)
    decay_steps: int = setting(500, low=1)
    """Outer step, warm-up included, at which the final learning rate is reached."""
    weight_decay: float = setting(1e-4, low=0)
    clip: str = setting("gradient", choices=("none", "gradient", "update"))
    """`gradient` bounds the meta-gradient before AdamW; `update` bounds AdamW's update, as in the authors' code, where
    it never acts at the paper's rates."""
    clip_norm: float = setting(1.0, above=0)
    pull: float = setting(0.0, low=0)
    """Towards the initial θ₀: after every step θ ← θ - learning rate·pull·(θ - θ₀). 0: none."""
    average: float = setting(0.0, low=0, below=1)
    """Decay β per outer step of an average of θ that starts at the initial θ: it is what is validated, kept as best and
    handed on, instead of θ itself. 0: no average."""

    def check_together(self, prefix: str) -> None:
        """The warm-up must end before the decay does."""
        if self.warmup_steps >= self.decay_steps:
            allowed = f"less than {prefix}decay_steps={self.decay_steps}"
            raise ConfigError.value(f"{prefix}warmup_steps", self.warmup_steps, allowed)


@dataclass(frozen=True)
class RecipeConfig:
    """How θ is meta-trained (µLO, section 5 and appendix; PES: Vicol et al. 2021). Files in conf/recipe are recipes."""

    name: str = "quick"
    estimator: str = setting("pes", choices=ESTIMATORS)
    """How the meta-gradient is estimated: `mulo.meta.estimators` says what each does."""
    outer_steps: int = setting(500, low=0)
    """0: θ as meta-training would start with it."""
    truncation: int = setting(20, low=1)
    """Inner steps per truncation, between two meta-gradients."""
    min_length: int = setting(40, low=1)
    max_length: int = setting(200, low=1)
    """Unroll lengths are drawn between these, rounded to multiples of the truncation."""
    lengths: str = setting("log_uniform", choices=("log_uniform", "uniform"))
    """How they are drawn."""
    length_curriculum: float = setting(0.0, low=0, high=1)
    """Share of the outer steps over which the longest length grows, evenly in its logarithm, from min_length to
    max_length; 0: it is max_length from the start."""
    start_offset: int = setting(200, low=0)
    """First unrolls are shortened by a uniform number of steps below this, so that particles do not reset together.
    Of `pes` and `truncated_es`: `nres` shortens them by anything up to their length, `es` and `es_single` do not."""
    sigma: float = setting(0.03, above=0)
    """Standard deviation of the perturbation of θ."""
    pairs: int = setting(8, low=1)
    """Antithetic pairs (particles) per width."""
    particles_per_batch: int | None = setting(None, low=1)
    """Pairs of a width that advance at the same time; fewer need less memory. null: all at once."""
    end_weight: float = setting(0.0, low=0)
    """p: the loss at step t of an unroll of T steps weighs (p+1)·(t/T)^p in the meta-gradient, on average 1. 0: all the
    same; 2: the end counts most. The meta-loss that is reported is unweighed."""
    loss_clip: float = setting(10.0, above=0)
    """An inner loss above this, or not finite, counts as this in the meta-loss."""
    save_every: int = setting(50, low=1)
    validate_every: int = setting(100, low=1)
    """Outer steps between full unrolls of the unperturbed θ on held-out seeds, which choose the best θ."""
    validation: ValidationConfig = field(default_factory=ValidationConfig, hash=False)
    keep: str = setting("last", choices=("last", "best"))
    """Which θ a meta-training hands on: that of its last step, or the one with the lowest validation loss, of which
    the initial θ is one."""
    go_back: float | None = setting(None, low=0)
    """Where a validation loss is above 1 + this times the initial θ's, θ goes back to the best so far (the initial one
    is a candidate), the outer optimizer's moments start anew, so do all unrolls, and outer updates are halved from
    there on, each time. null: never."""
    normalize_tasks: bool = False
    """Divides each task's meta-gradient by the running root mean square of its norm before tasks are averaged."""
    outer: OuterConfig = field(default_factory=OuterConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig, hash=False)

    @property
    def traits(self) -> EstimatorTraits:
        """What the estimator does."""
        return ESTIMATORS[self.estimator]

    @property
    def validation_trainings(self) -> int:
        """Of each network in a validation."""
        return self.validation.seeds or 2 * self.pairs

    @property
    def validation_steps(self) -> int:
        """Inner steps of each training in a validation, before they are rounded to truncations."""
        return self.validation.num_steps or self.max_length

    def check_together(self, prefix: str) -> None:
        """Truncation ≤ shortest unroll ≤ longest unroll; batches share out the pairs evenly."""
        if self.min_length > self.max_length:
            allowed = f"at most {prefix}max_length={self.max_length}"
            raise ConfigError.value(f"{prefix}min_length", self.min_length, allowed)
        if self.truncation > self.min_length:
            allowed = f"at most the shortest unroll, {prefix}min_length={self.min_length}"
            raise ConfigError.value(f"{prefix}truncation", self.truncation, allowed)
        if self.particles_per_batch is not None and self.pairs % self.particles_per_batch:
            divisors = ", ".join(str(n) for n in range(1, self.pairs + 1) if self.pairs % n == 0)
            allowed = f"null or a divisor of {prefix}pairs={self.pairs}: {divisors}"
            raise ConfigError.value(f"{prefix}particles_per_batch", self.particles_per_batch, allowed)
