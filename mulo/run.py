"""The one entry point: `python -m mulo.run optimizer=velo_mup task=mlp_multiwidth`. The only file that imports Hydra.

Modes: `main` (meta-train, evaluate, draw), `meta_train`, `evaluate checkpoint=…`, `coordinate_check`, `parameters` (the
multipliers of every parameter), `verify reference=…`, `plan` (what meta-training and evaluation would cost). Exit
codes: 0 done, 1 a check failed, 2 the user's input was refused, 130 and 143 stopped by Ctrl-C or SIGTERM with
everything saved.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mulo import kernel_library
from mulo.errors import ConfigError, Interrupted, MuloError

_REFUSED = 2


def _conf_dir() -> Path:
    """conf/ lies inside the installed package, and beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _pick(key: Any, table: Mapping[str, Any]) -> Any:
    """`${pick:key,{a:…,b:…}}`: one file holds values for each optimizer or scale; what is not named has the first."""
    return table.get(key, next(iter(table.values())))


def _logspace(first: float, last: float, count: int) -> list[float]:
    """`${logspace:-1,-5,14}`: numbers from 10^first to 10^last, at equal distances on a log scale."""
    return [10 ** (first + (last - first) * i / (count - 1)) for i in range(count)]


def register_resolvers() -> None:
    """What files under conf/ and sweeps/ may compute."""
    OmegaConf.register_new_resolver("pick", _pick, replace=True)
    OmegaConf.register_new_resolver("logspace", _logspace, replace=True)


def _explicit_keys(overrides: list[str]) -> set[str]:
    return {override.lstrip("+~").partition("=")[0] for override in overrides}


def _job(raw: DictConfig) -> int:
    from mulo.jobs import preflight

    explicit = _explicit_keys(list(HydraConfig.get().overrides.task))
    plain = OmegaConf.to_container(raw, resolve=True)
    if not isinstance(plain, dict):
        raise ConfigError("The configuration is not a group of settings.")
    config = preflight.resolve({str(key): value for key, value in plain.items()}, explicit)
    kernel_library.begin()  # while JAX is being imported
    from mulo.jobs import dispatch

    return dispatch.run(config)


class _Main:
    """Runs each job and keeps its exit code, which Hydra would drop."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def __call__(self, raw: DictConfig) -> None:
        try:
            self.codes.append(_job(raw))
        except Interrupted as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(128 + stopped.signal_number)
        except MuloError as error:
            print(f"Error: {error}", file=sys.stderr)
            self.codes.append(_REFUSED)


def main() -> None:
    """Composes the configuration from the command line and runs one job, or several with `-m`."""
    register_resolvers()
    jobs = _Main()
    hydra.main(version_base="1.3", config_path=str(_conf_dir()), config_name="config")(jobs.__call__)()
    sys.exit(max(jobs.codes, default=0))


if __name__ == "__main__":
    main()
