"""The one entry point: `python -m mulo.run optimizer=velo_mup task=mlp_multiwidth`. The only file that imports Hydra.

Modes: `main` (meta-train, evaluate, draw), `meta_train`, `evaluate checkpoint=…`, `coordinate_check`, `parameters` (the
multipliers of every parameter), `verify reference=…`, `plan` (what meta-training and evaluation would cost), `report
report.of=…` (a sweep's directory becomes a record), `export checkpoint=… export.output=…` (θ as two portable files).
Exit codes: 0 done, 1 a check failed or the disk is full, 2 the user's input was refused, 130 and 143 stopped by Ctrl-C
or SIGTERM with everything saved.
"""

import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import CompactHydraException, HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mulo import distributed
from mulo.config import Config, renamed, store
from mulo.errors import ConfigError, MuloError
from mulo.launch import attempt, preflight, sweep
from mulo.process import terminal, writable
from mulo.process.events import FOLDER, Log
from mulo.process.status import outcome


def bundled(name: str) -> str:
    """The folder `conf` or `sweeps`, which lies inside the installed package, and beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return str(inside if inside.is_dir() else package.parent / name)


def _pick(key: Any, table: Mapping[str, Any]) -> Any:
    """`${pick:key,{a:…,b:…}}`: one file holds values for each optimizer or scale; what is not named has the first."""
    return table.get(key, next(iter(table.values())))


def _logspace(first: float, last: float, count: int) -> list[float]:
    """`${logspace:-1,-5,14}`: numbers from 10^first to 10^last, at equal distances on a log scale."""
    return [10 ** (first + (last - first) * i / (count - 1)) for i in range(count)]


def register() -> None:
    """What files under conf/ and sweeps/ may compute, and the defaults that they begin with."""
    OmegaConf.register_new_resolver("bundled", bundled, replace=True)
    OmegaConf.register_new_resolver("pick", _pick, replace=True)
    OmegaConf.register_new_resolver("logspace", _logspace, replace=True)
    for name, defaults in store.defaults().items():
        ConfigStore.instance().store(name, defaults)


# Hydra takes the plugin's schema into account beside conf/hydra/launcher/joblib.yaml, which is all right.
warnings.filterwarnings("ignore", message="(?s).*is validated against ConfigStore schema with the same name")
# Here and not in main: workers of a sweep import this module and never call it.
register()


_QUOTED = r"""'(?:\\.|[^'])*'|"(?:\\.|[^"])*["]"""
_SWEPT = re.compile(rf"(?:{_QUOTED}|[^,])+")
"""What stands between commas."""
_NESTED = re.compile(rf"(?:{_QUOTED}|[^][(){{}},:])+")
"""What stands in lists, dictionaries and calls, as `[a,b]`, `{a:b}` and `choice(a,b)`."""


def typed(argument: str) -> str:
    """An argument of the command line, quoted where Hydra's grammar knows its value in quotes only, as `name=µLO_M`.

    What the grammar knows as it is stays so, and what it does not know in quotes either is left for Hydra to refuse.
    """
    key, equals, value = argument.partition("=")
    if not equals or _known(argument):
        return argument
    parts = _NESTED if set(value) & set("[({") else _SWEPT
    tries = (parts.sub(lambda part: _word(part[0].strip()), value), _quoted(value))
    return next((quoted for quoted in (f"{key}={text}" for text in tries) if _known(quoted)), argument)


def _word(text: str) -> str:
    return text if _known(f"key={text}") else _quoted(text)


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _known(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def current(argument: str) -> str:
    """An argument of the command line under today's key, with a warning where it has a former one."""
    prefix, old, value = re.fullmatch(r"([+~]*)([^=]*)(.*)", argument, re.DOTALL).groups()  # type: ignore[union-attr]
    new = renamed.OVERRIDES.get(argument, f"{prefix}{renamed.key(old)}{value}")
    if new != argument:
        print(f"{argument} is deprecated; use {new}.", file=sys.stderr)
    return new


def _explicit_keys(overrides: list[str]) -> set[str]:
    return {override.lstrip("+~").partition("=")[0] for override in overrides}


def _config(raw: DictConfig) -> Config:
    explicit = _explicit_keys(list(HydraConfig.get().overrides.task))
    plain = OmegaConf.to_container(raw, resolve=True)
    if not isinstance(plain, dict):
        raise ConfigError("The configuration is not a group of settings.")
    return preflight.resolve({str(key): value for key, value in plain.items()}, explicit)


class _Job:
    """What Hydra calls for each job; launchers send it to their workers, with the path of the sweep's events."""

    def __init__(self, log: Log) -> None:
        self.log, self.code = log, 0

    def __call__(self, raw: DictConfig) -> int:
        terminal.write_what_can_be_written()  # here too: workers never call main
        settings = HydraConfig.get()
        if settings.mode == RunMode.MULTIRUN:
            job = attempt.SweepJob(self.log, int(settings.job.num), list(settings.overrides.task))
            return attempt.of_sweep(job, lambda: _config(raw))
        self.code = self._alone(raw)
        return self.code

    def _alone(self, raw: DictConfig) -> int:
        try:
            return attempt.alone(_config(raw))
        except (MuloError, KeyboardInterrupt) as error:
            result = outcome(error)
            print(error if result.status == "interrupted" else f"Error: {error}", file=sys.stderr)
            return result.exit_code


class Launch(Callback):
    """Tells the launching process that it launches a sweep, and of which jobs; conf/config.yaml names it."""

    launched: ClassVar[sweep.Sweep | None] = None

    def on_multirun_start(self, config: DictConfig, **more: Any) -> None:
        """Hydra calls it once, before anything is launched."""
        if Launch.launched is None:
            return
        try:
            writable.check(FOLDER.absolute(), "cd, since a sweep notes its events under the current directory")
        except MuloError as error:  # Hydra makes warnings of exceptions, but leaves an exit alone
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(2)
        planned = _planned(config)
        Launch.launched.begin(planned)
        _share_cores(config.hydra.launcher, len(planned))
        os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print an error of the launcher and end the process


def _planned(config: DictConfig) -> list[list[str]]:
    """The overrides of every job, in the order of Hydra's own sweeper; another one decides on the way."""
    sweeper = hydra.utils.get_class(config.hydra.sweeper._target_)
    if not hasattr(sweeper, "split_arguments"):
        return []
    swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
    return [job for batch in sweeper.split_arguments(overrides, None) for job in batch]


def _share_cores(launcher: DictConfig, jobs: int) -> None:
    target, cores = str(launcher._target_), distributed.cores()
    if target.endswith(".JoblibLauncher"):
        wish = int(launcher.n_jobs)
        together = wish if wish > 0 else max(1, cores + 1 + wish)
        sweep.share_cores(min(together, jobs or together))
    elif target.endswith(".LocalLauncher"):  # starts all at once
        sweep.share_cores(jobs or cores)


def main() -> None:
    """Composes the configuration from the command line and runs one job, or several with `-m`."""
    terminal.write_what_can_be_written()
    sys.argv[1:] = [current(typed(argument)) for argument in sys.argv[1:]]
    launched = Launch.launched = sweep.Sweep()
    job = _Job(launched.log)
    try:
        hydra.main(version_base="1.3", config_path=bundled("conf"), config_name="config")(job.__call__)()
    except CompactHydraException as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        if not launched.begun:
            raise
        sweep.broken(launched, error)
    sys.exit(launched.end() if launched.begun else job.code)


if __name__ == "__main__":
    from mulo.run import main

    terminal.start_in_utf8()
    main()
