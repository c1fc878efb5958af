"""Settings of the jobs: coordinate check, plan, export, logger, and the whole configuration."""

from dataclasses import dataclass, field, replace
from typing import Any

from mulo.config.data import DataConfig, EmbeddedDataConfig
from mulo.config.evaluation import EvaluationConfig, TuningConfig
from mulo.config.recipe import RecipeConfig
from mulo.config.registry import Schemas
from mulo.config.settings import check, setting
from mulo.config.sweeps import SCALES, ReportConfig, SweepConfig
from mulo.config.tasks import MLPConfig, TaskBase
from mulo.errors import ConfigError

MODES = ("main", "meta_train", "evaluate", "coordinate_check", "parameters", "verify", "plan", "report", "export")


@dataclass(frozen=True)
class CoordinateCheckConfig:
    """Widths, or depths, and times at which pre-activation changes are measured (µLO, figure 2)."""

    widths: list[int] = setting([64, 128, 256, 512], low=1)
    depths: list[int] | None = setting(None, low=2, high=1024)
    """Compares these depths at the task's one width, as [2, 4, 8, 16], and no widths; null: compares the widths."""
    times: list[int] = setting([1, 10, 100], low=1)
    """Optimizer steps after which changes are measured."""
    seeds: int = setting(3, low=1)
    meta_train: bool = False
    """Meta-trains θ first, as mode=main does, and checks the evaluation's task. false: θ is given, or fresh."""
    tolerance: float = setting(0.1, above=0)
    """Largest |slope| of log std over log width (log depth) that passes under µP (CompleteP)."""

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
class ExportConfig:
    """What mode=export writes of the θ in `checkpoint`: two portable files, its arrays and a card."""

    output: str | None = setting(None, path=True)
    """The file of the arrays, such as mulo_m.safetensors; the card is mulo_m.json beside it."""
    results: str | None = setting(None, path=True)
    """A results.csv whose mean losses go onto the card; null: that of the run's own evaluation, where it has one."""
    loses: list[str] = setting([])
    """For the card, in words: where this θ loses."""


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
    """`main` meta-trains θ, tunes what `tuning.grid` names, then evaluates; the others do one thing."""
    name: str | None = None
    """The method: what results call the optimizer, such as µLO_M; null: the optimizer's name."""
    scale: str | None = setting(None, choices=SCALES)
    """Of a sweep: `cpu` (hours on 2 cores), `paper` (the paper's sizes) or `smoke` (seconds)."""
    seed: int = setting(0, low=0, high=2**31 - 1)
    """The root of all randomness."""
    run_dir: str | None = setting(None, path=True)
    """null: `runs/<optimizer>-<task>-<recipe>-seed<seed>-<hash of the settings>`."""
    checkpoint: str | None = setting(None, path=True)
    """mode=evaluate, coordinate_check and export: a run directory, or a folder under its checkpoints/. The first two
    also take a file that mode=export wrote, and the name of weights that ship with mulo."""
    reference: str | None = setting(None, path=True)
    """An npz file with Haiku's names: for mode=verify a trajectory to replay; mode=evaluate and coordinate_check take θ
    from it."""
    distributed: str = setting("auto", choices=("auto", "always", "never"))
    """`auto`: several processes where the launcher started several."""
    state_dtype: str = setting("float32", choices=("float32", "bfloat16"))
    """In which optimizers keep their moments while they train (bfloat16: rounded at random, right on average); θ does
    not depend on it."""
    optimizer: Any = setting(lambda: Schemas("optimizer")["velo"](), group="optimizer")
    task: Any = setting(MLPConfig(name="mlp_multiwidth", widths=[16, 64]), group="task")
    data: Any = setting(EmbeddedDataConfig(), group="data")
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    coordinate_check: CoordinateCheckConfig = field(default_factory=CoordinateCheckConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)

    def check_together(self, prefix: str) -> None:
        """Options that only some modes read are refused in the others, and required where they are needed."""
        learned = self.optimizer.learned
        # A file's settings replace those of the optimizer, so that even a baseline's may stand here.
        needed = ("evaluate", "export") if learned and self.reference is None else ("export",)
        _check_belongs("checkpoint", self.checkpoint, self.mode, needed, also=("evaluate", "coordinate_check"))
        _check_belongs(
            "reference", self.reference, self.mode, needed=("verify",), also=("evaluate", "coordinate_check")
        )
        _check_belongs("plan.output", self.plan.output, self.mode, needed=(), also=("plan",))
        _check_belongs("report.of", self.report.of, self.mode, needed=("report",))
        _check_belongs("export.output", self.export.output, self.mode, needed=("export",))
        _check_belongs("export.results", self.export.results, self.mode, needed=(), also=("export",))
        self._check_meta_trained_check(learned)
        self._check_grid()
        if self.name is not None and not set(self.name).isdisjoint("/\\\n"):
            raise ConfigError.value("name", self.name, "a word without slashes")
        if self.scale is not None and self.sweep.name is None:
            raise ConfigError.value("scale", self.scale, "null where no sweep is chosen, as +figure=width does")
        checked = self.evaluated.task
        if self.mode == "coordinate_check" and len(checked.parts) > 1:
            raise ConfigError("mode=coordinate_check needs one architecture: choose a member, as task=transformer.")
        widths = checked.parts[0].all_widths
        if self.mode == "coordinate_check" and self.coordinate_check.depths and len(widths) > 1:
            raise ConfigError(
                f"coordinate_check.depths compares networks of one width, and task={checked.name} has {widths}: "
                f"choose task={checked.parts[0].architecture} with task.width=…, or set depths to null."
            )
        if self.mode == "meta_train" and not learned:
            raise ConfigError(
                f"optimizer={self.optimizer.name} has no θ to meta-train: in mode={self.mode} choose a learned one "
                "(small_fc_mup, small_fc_sp, velo_mup, velo_sp, celo2_mup, celo2_sp). Baselines join an evaluation "
                "through evaluation.baselines, are tuned in mode=main, or stand alone in mode=evaluate."
            )

    def _check_grid(self) -> None:
        """Tuning tries the optimizer's own settings, within their ranges; a grid may serve the other kind too."""
        own, learned = self.optimizer.tunable, self.optimizer.learned
        known: list[Any] = list(Schemas("optimizer").values())
        passed_over = {name for schema in known if schema.learned != learned for name in schema.tunable} - set(own)
        for name, values in self.tuning.grid.items() if self.mode == "main" else ():
            if name in passed_over:
                continue
            if name not in own:
                allowed = f"any of {', '.join(own) or 'no settings'} for optimizer={self.optimizer.name}"
                raise ConfigError.value("tuning.grid", name, allowed)
            for value in values:
                check(replace(self.optimizer, **{name: value}), "tuning.grid.")

    def _check_meta_trained_check(self, learned: bool) -> None:
        if not self.coordinate_check.meta_train:
            return
        has_theta = self.checkpoint is not None or self.reference is not None
        if self.mode != "coordinate_check" or not learned or has_theta:
            allowed = "false, or mode=coordinate_check of a learned optimizer without checkpoint and reference"
            raise ConfigError.value("coordinate_check.meta_train", True, allowed)

    @property
    def meta_trains(self) -> bool:
        """Whether the job meta-trains a θ, or goes on with one."""
        return self.optimizer.learned and (self.mode in ("main", "meta_train") or self.coordinate_check.meta_train)

    @property
    def grid(self) -> dict[str, list[float]]:
        """The values that mode=main tries of the optimizer's settings; empty: it is not tuned."""
        grid: dict[str, list[float]] = self.optimizer.grid(self.tuning.grid)
        return grid

    @property
    def tunes(self) -> bool:
        """Whether the job tries settings of its optimizer before it evaluates."""
        return self.mode == "main" and bool(self.grid)

    def data_of(self, part: TaskBase) -> DataConfig:
        """What one architecture of the task learns from."""
        data: DataConfig = self.task.data_of(part, self.data)
        return data

    @property
    def method(self) -> str:
        """The name of the optimizer in results."""
        return self.name or self.optimizer.name

    @property
    def shows_theta0(self) -> bool:
        """Whether the evaluation after meta-training shows the θ that it began with, too."""
        return self.mode == "main" and self.meta_trains and self.evaluation.theta0

    @property
    def evaluated(self) -> "Config":
        """The same with the task and the data of the evaluation in place of meta-training's."""
        return replace(self, task=self.evaluation.task or self.task, data=self.evaluation.data or self.data)

    @property
    def datasets(self) -> list[DataConfig]:
        """Of meta-training and evaluation, each once."""
        datasets = [config.data_of(part) for config in (self, self.evaluated) for part in config.task.parts]
        return [data for index, data in enumerate(datasets) if data not in datasets[:index]]

    @property
    def parametrization(self) -> str:
        """The task's parametrization: its own where given, else the optimizer's."""
        return self.task.parametrization or self.optimizer.parametrization


def _check_belongs(key: str, value: str | None, mode: str, needed: tuple[str, ...], also: tuple[str, ...] = ()) -> None:
    if value is None and mode in needed:
        raise ConfigError(f"mode={mode} needs {key}=<path>.")
    modes = dict.fromkeys(needed + also)
    if value is not None and mode not in modes:
        raise ConfigError.value(key, value, f"null unless mode={' or mode='.join(modes)}", f"The mode is {mode}.")
