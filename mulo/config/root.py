"""Settings of the jobs: meta-training recipe, evaluation, coordinate check, and the whole configuration."""

from dataclasses import dataclass, field, replace
from typing import Any

from mulo.config.data import DataConfig, EmbeddedDataConfig
from mulo.config.evaluation import EvaluationConfig, TuningConfig
from mulo.config.registry import Schemas
from mulo.config.settings import check, setting
from mulo.config.sweeps import SCALES, ReportConfig, SweepConfig
from mulo.config.tasks import MixedConfig, MLPConfig, TaskBase, TaskConfig
from mulo.errors import ConfigError

MODES = ("main", "meta_train", "evaluate", "coordinate_check", "parameters", "verify", "plan", "report")


@dataclass(frozen=True)
class ScaleConfig:
    """Sizes that go with a recipe's budget; task and evaluation follow them unless told otherwise."""

    width: int = setting(128, low=1)
    widths: list[int] = setting([128, 512, 1024], low=1)
    batch_size: int = setting(4096, low=1)
    """Of MLPs."""
    image_batch_size: int = setting(1024, low=1)
    """Of vision transformers and residual networks."""
    text_batch_size: int = setting(128, low=1)
    """Sequences of text."""
    evaluation_steps: int = setting(5000, low=1)
    evaluation_seeds: int = setting(5, low=1)


@dataclass(frozen=True)
class OuterConfig:
    """The outer optimizer: AdamW on θ with linear warm-up and cosine decay."""

    learning_rate: float = setting(3e-3, low=0)
    warmup_start: float = setting(3e-10, low=0)
    warmup_steps: int = setting(100, low=0)
    final_learning_rate: float = setting(1e-3, low=0)
    decay_steps: int = setting(4900, low=1)
    """Outer step, warm-up included, at which the final learning rate is reached."""
    weight_decay: float = setting(1e-4, low=0)
    clip: str = setting("gradient", choices=("none", "gradient", "update"))
    """`gradient` bounds the meta-gradient before AdamW; `update` bounds AdamW's update, as in the authors' code."""
    clip_norm: float = setting(1.0, above=0)

    def check_together(self, prefix: str) -> None:
        """The warm-up must end before the decay does."""
        if self.warmup_steps >= self.decay_steps:
            allowed = f"less than {prefix}decay_steps={self.decay_steps}"
            raise ConfigError.value(f"{prefix}warmup_steps", self.warmup_steps, allowed)


@dataclass(frozen=True)
class RecipeConfig:
    """How θ is meta-trained (µLO, section 5 and appendix; PES: Vicol et al. 2021)."""

    name: str = "quick"
    estimator: str = setting("pes", choices=("pes", "nres", "es_single", "es", "truncated_es"))
    """How the meta-gradient is estimated: `mulo.meta.estimators` says what each does."""
    outer_steps: int = setting(5000, low=1)
    truncation: int = setting(50, low=1)
    """Inner steps per truncation."""
    min_length: int = setting(100, low=1)
    max_length: int = setting(1000, low=1)
    """Unroll lengths are log-uniform between these, rounded to multiples of the truncation."""
    start_offset: int = setting(50, low=0)
    """First unrolls are shortened by a uniform number of steps below this, so that particles do not reset together.
    Of `pes` and `truncated_es`: `nres` shortens them by anything up to their length, `es` and `es_single` do not."""
    sigma: float = setting(0.01, above=0)
    """Standard deviation of the perturbation of θ."""
    pairs: int = setting(8, low=1)
    """Antithetic pairs (particles) per width."""
    particles_per_batch: int | None = setting(None, low=1)
    """Pairs of a width that advance at the same time; fewer need less memory. null: all at once."""
    loss_clip: float = setting(10.0, above=0)
    """An inner loss above this, or not finite, counts as this in the meta-loss."""
    save_every: int = setting(100, low=1)
    validate_every: int = setting(100, low=1)
    """Outer steps between full unrolls of the unperturbed θ on 2·pairs held-out seeds, which choose the best θ."""
    outer: OuterConfig = field(default_factory=OuterConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig, hash=False)

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


@dataclass(frozen=True)
class CoordinateCheckConfig:
    """Widths, or depths, and times at which pre-activation changes are measured (µLO, figure 2)."""

    widths: list[int] = setting([64, 128, 256, 512, 1024, 2048], low=1)
    depths: list[int] | None = setting(None, low=2, high=1024)
    """Compares these depths at the task's own width, and no widths; null: compares the widths."""
    times: list[int] = setting([1, 10, 100], low=1)
    seeds: int = setting(3, low=1)
    meta_train: bool = False
    """Meta-trains θ first, as mode=main does, and checks the evaluation's task. false: θ is given, or fresh."""
    tolerance: float = setting(0.1, above=0)
    """Largest |slope| of log std over log width, or log depth, that counts as independent of it."""

    def check_together(self, prefix: str) -> None:
        """A slope needs two different widths, or depths."""
        for key, sizes in (("widths", self.widths), ("depths", self.depths)):
            if sizes is not None and len(set(sizes)) < 2:
                raise ConfigError.value(f"{prefix}{key}", sizes, f"a list of at least two different {key}")

    @property
    def over(self) -> str:
        """What grows from network to network: `width` or `depth`."""
        return "width" if self.depths is None else "depth"


@dataclass(frozen=True)
class PlanConfig:
    """What mode=plan plans for."""

    device: str = setting("this", choices=("this", "a6000", "a100", "h100", "h200", "v5e", "v5p", "v6e"))
    """`this` measures a few seconds on this machine; the others are planned from their data sheets."""
    seconds: float = setting(5.0, above=0, high=3600)
    """How long to measure with `device=this`, compilation not counted."""
    output: str | None = setting(None, path=True)
    """A JSON file to write the plan to as well."""


@dataclass(frozen=True)
class LoggerConfig:
    """Where metrics go besides metrics.jsonl."""

    name: str = setting("wandb", choices=("none", "wandb", "wandb_online"))
    """`wandb` writes W&B's files into the run directory without network; `wandb_online` sends them."""
    project: str = "mulo"


@dataclass(frozen=True)
class Config:
    """The whole configuration of one job."""

    mode: str = setting("main", choices=MODES)
    name: str | None = None
    """What results call the optimizer, such as µLO_M; null: its own name."""
    scale: str | None = setting(None, choices=SCALES)
    """Of a sweep: `cpu` (hours on 2 cores), `paper` (the paper's sizes) or `smoke` (seconds)."""
    seed: int = setting(0, low=0, high=2**31 - 1)
    run_dir: str | None = setting(None, path=True)
    checkpoint: str | None = setting(None, path=True)
    reference: str | None = setting(None, path=True)
    distributed: str = setting("auto", choices=("auto", "always", "never"))
    state_dtype: str = setting("float32", choices=("float32", "bfloat16"))
    """In which optimizers keep their moments while they train; θ does not depend on it."""
    optimizer: Any = field(default_factory=lambda: Schemas("optimizer")["velo"]())
    task: Any = field(default_factory=MLPConfig)
    data: Any = field(default_factory=EmbeddedDataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    coordinate_check: CoordinateCheckConfig = field(default_factory=CoordinateCheckConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)

    def check_together(self, prefix: str) -> None:
        """Options that only some modes read are refused in the others, and required where they are needed."""
        learned = self.optimizer.learned
        # A file's settings replace those of the optimizer, so that even a baseline's may stand here.
        needed = ("evaluate",) if learned and self.reference is None else ()
        _check_belongs("checkpoint", self.checkpoint, self.mode, needed, also=("evaluate", "coordinate_check"))
        _check_belongs(
            "reference", self.reference, self.mode, needed=("verify",), also=("evaluate", "coordinate_check")
        )
        _check_belongs("plan.output", self.plan.output, self.mode, needed=(), also=("plan",))
        _check_belongs("report.of", self.report.of, self.mode, needed=("report",))
        self._check_meta_trained_check(learned)
        self._check_grid(learned)
        if self.name is not None and not set(self.name).isdisjoint("/\\\n"):
            raise ConfigError.value("name", self.name, "a word without slashes")
        if self.scale is not None and self.sweep.name is None:
            raise ConfigError.value("scale", self.scale, "null where no sweep is chosen, as +figure=width does")
        checked = self.evaluated.task
        if self.mode == "coordinate_check" and len(checked.parts) > 1:
            raise ConfigError("mode=coordinate_check needs one architecture: choose a member, as task=transformer.")
        if self.mode == "coordinate_check" and self.coordinate_check.depths and not hasattr(checked, "width"):
            raise ConfigError(
                f"coordinate_check.depths compares networks of one width, and task={checked.name} has several: "
                f"choose task={checked.name.removesuffix('_multiwidth')} with task.width=…, or set depths to null."
            )
        if self.mode == "meta_train" and not learned:
            raise ConfigError(
                f"optimizer={self.optimizer.name} has no θ to meta-train: in mode={self.mode} choose a learned one "
                "(small_fc_mup, small_fc_sp, velo_mup, velo_sp, celo2_mup, celo2_sp). Baselines join an evaluation "
                "through evaluation.baselines, are tuned in mode=main, or stand alone in mode=evaluate."
            )

    def _check_grid(self, learned: bool) -> None:
        """Tuning tries what the baseline's θ holds, within the settings' own ranges."""
        for name, values in {} if learned or self.mode != "main" else self.tuning.grid.items():
            if name not in self.optimizer.tunable:
                allowed = f"any of {', '.join(self.optimizer.tunable)} for optimizer={self.optimizer.name}"
                raise ConfigError.value("tuning.grid", name, allowed)
            for value in values:
                check(replace(self.optimizer, **{name: value}), "tuning.grid.")

    def _check_meta_trained_check(self, learned: bool) -> None:
        if not self.coordinate_check.meta_train:
            return
        given = [key for key in ("checkpoint", "reference") if getattr(self, key) is not None]
        if self.mode != "coordinate_check" or not learned or given:
            allowed = "false, or mode=coordinate_check of a learned optimizer without checkpoint and reference"
            raise ConfigError.value("coordinate_check.meta_train", True, allowed)

    @property
    def meta_trains(self) -> bool:
        """Whether the job meta-trains a θ, or goes on with one."""
        return self.optimizer.learned and (self.mode in ("main", "meta_train") or self.coordinate_check.meta_train)

    def data_of(self, part: TaskBase) -> DataConfig:
        """What one architecture of the task learns from."""
        mixed_text = isinstance(self.task, MixedConfig) and part.family == "transformer"
        return self.task.text if mixed_text else self.data

    @property
    def contestant(self) -> str:
        """What results call the optimizer."""
        return self.name or self.optimizer.name

    @property
    def evaluated(self) -> "Config":
        """The same with the task and the data of the evaluation in place of meta-training's."""
        own = self.evaluation
        return replace(self, task=own.task or self.task, data=own.data or self.data)

    @property
    def datasets(self) -> list[DataConfig]:
        """All that meta-training and evaluation learn from, each once."""
        found: list[DataConfig] = []
        for config in (self, self.evaluated):
            own = [config.data_of(part) for part in config.task.parts]
            found += [data for data in own if data not in found]
        return found

    @property
    def parametrization(self) -> str:
        """The task's parametrization: its own where given, else the optimizer's."""
        return self.task.parametrization or self.optimizer.parametrization


def _check_belongs(key: str, value: str | None, mode: str, needed: tuple[str, ...], also: tuple[str, ...] = ()) -> None:
    if value is None and mode in needed:
        raise ConfigError(f"mode={mode} needs {key}=<path>, and none was given.")
    allowed = dict.fromkeys(needed + also)
    if value is not None and mode not in allowed:
        raise ConfigError.value(key, value, f"only in mode={' or mode='.join(allowed)}", f"The mode is {mode}.")


__all__ = [
    "Config",
    "CoordinateCheckConfig",
    "DataConfig",
    "EvaluationConfig",
    "OuterConfig",
    "PlanConfig",
    "RecipeConfig",
    "ScaleConfig",
    "TaskConfig",
]
