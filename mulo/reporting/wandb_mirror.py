"""Mirrors the metrics to Weights & Biases; the record itself is metrics.jsonl."""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from mulo.config import LoggerConfig
from mulo.errors import ConfigError, MuloError

_MODES = {"none": "disabled", "wandb": "offline", "wandb_online": "online"}
"""What `logger=` means to W&B."""
_WISHES = {
    "online": "online",
    "run": "online",
    "shared": "shared",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
"""What `WANDB_MODE` means to it."""


def mode(settings: LoggerConfig) -> str:
    """W&B's mode: disabled under `logger=none`, else that of the variable `WANDB_MODE`, else that of `logger=`.

    Raises:
        ConfigError: the variable holds a mode that W&B does not have.
    """
    wish = os.environ.get("WANDB_MODE")
    if not wish or settings.name == "none":
        return _MODES[settings.name]
    if wish not in _WISHES:
        raise ConfigError.value("WANDB_MODE", wish, f"one of {', '.join(_WISHES)}", "It is an environment variable.")
    return _WISHES[wish]


class WandbMirror:
    """A W&B run that lives as long as a `with` block; under `logger=none` every method does nothing.

    `logger=wandb` writes W&B's files into `run_dir`/wandb without network, `logger=wandb_online` sends them, and the
    variable `WANDB_MODE` overrules both.
    The run's id is kept in `run_dir`/wandb_id.txt, so that a resumed job continues the same run.
    """

    def __init__(self, settings: LoggerConfig, run_dir: Path, config: Mapping[str, Any]) -> None:
        self._run: Any = None
        if mode(settings) == "disabled":
            return
        # W&B wraps both at every start and never unwraps them: a second job would print its traceback twice.
        hooks = sys.exit, sys.excepthook
        try:
            self._run = _start(settings, Path(run_dir), dict(config))
        except BaseException:
            _release()
            raise
        finally:
            sys.exit, sys.excepthook = hooks

    def log(self, row: Mapping[str, Any]) -> None:
        """Sends one row of metrics; `outer_step` in it is the horizontal axis of all others."""
        if self._run is not None:
            self._run.log(dict(row))

    def picture(self, name: str, path: Path) -> None:
        """Sends a picture file."""
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Image(str(path))})

    def close(self, failed: bool = False) -> None:
        """Finishes the run and ends W&B's background process; a second call does nothing."""
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.finish(exit_code=int(failed))
        finally:
            _release()

    def __enter__(self) -> "WandbMirror":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)


def _release() -> None:
    import wandb

    # A run that the caller opened through wandb.init needs the process further.
    if wandb.run is None:
        wandb.teardown()


def _start(settings: LoggerConfig, run_dir: Path, config: dict[str, Any]) -> Any:
    run_dir.mkdir(parents=True, exist_ok=True)
    chosen = mode(settings)
    online = chosen != "offline"
    with _environment(_surroundings(run_dir, online)):
        import wandb

        try:
            run = wandb.init(
                project=settings.project,
                dir=str(run_dir),
                id=_run_id(run_dir),
                config=config,
                reinit="create_new",
                resume="allow" if online else None,
                settings=wandb.Settings(**_quiet(chosen)),
            )
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            wish = os.environ.get("WANDB_MODE")
            setting = f"WANDB_MODE={wish}" if wish else f"logger={settings.name}"
            raise MuloError(
                f"{setting} could not start W&B ({reason}). Run `wandb login`, or use logger=wandb without WANDB_MODE, "
                "which needs no network, and send the files later with `wandb sync`."
            ) from error
    run.define_metric("outer_step")
    run.define_metric("*", step_metric="outer_step")
    return run


def _quiet(chosen: str) -> dict[str, Any]:
    """Settings that keep W&B off the terminal and leave program, packages and machine out of its record."""
    return {
        "mode": chosen,
        "silent": True,
        "quiet": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "host": "",
    }


def _surroundings(run_dir: Path, online: bool) -> dict[str, str]:
    # W&B's process logs to the terminal where it cannot write its cache, as on nodes without a home,
    # and its login does not read a run's settings.
    quiet = {"WANDB_CACHE_DIR": str(run_dir / "wandb" / "cache"), "WANDB_SILENT": "true"}
    return quiet if online else quiet | {"WANDB_ERROR_REPORTING": "false"}


@contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    """Adds environment variables that the user has not set, and takes them away again."""
    added = {name: value for name, value in extra.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _run_id(run_dir: Path) -> str:
    path = run_dir / "wandb_id.txt"
    if not path.exists():
        path.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
