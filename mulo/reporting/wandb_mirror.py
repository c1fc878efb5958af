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
from mulo.errors import MuloError


class WandbMirror:
    """A W&B run that lives as long as a `with` block; under `logger=none` every method does nothing.

    `logger=wandb` writes W&B's files into `run_dir`/wandb without network, `logger=wandb_online` sends them.
    The run's id is kept in `run_dir`/wandb_id.txt, so that a resumed job continues the same run.
    """

    def __init__(self, settings: LoggerConfig, run_dir: Path, config: Mapping[str, Any]) -> None:
        self._run: Any = None
        # W&B wraps both at every start and never unwraps them: a second job would print its traceback twice.
        self._hooks = sys.exit, sys.excepthook
        if settings.name == "none":
            return
        try:
            self._run = _start(settings, Path(run_dir), dict(config))
        except BaseException:
            self._release()
            raise

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
            self._release()

    def _release(self) -> None:
        import wandb

        sys.exit, sys.excepthook = self._hooks
        # A run that the caller opened through wandb.init needs the process further.
        if wandb.run is None:
            wandb.teardown()

    def __enter__(self) -> "WandbMirror":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)


def _start(settings: LoggerConfig, run_dir: Path, config: dict[str, Any]) -> Any:
    run_dir.mkdir(parents=True, exist_ok=True)
    online = settings.name == "wandb_online"
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
                settings=wandb.Settings(**_quiet(online)),
            )
        except wandb.errors.Error as error:
            said = " ".join(str(error).split())
            raise MuloError(
                f"logger={settings.name} could not start W&B ({said}). Run `wandb login`, or use "
                "logger=wandb, which needs no network, and send the files later with `wandb sync`."
            ) from error
    run.define_metric("outer_step")
    run.define_metric("*", step_metric="outer_step")
    return run


def _quiet(online: bool) -> dict[str, Any]:
    """Settings that keep W&B off the terminal and leave program, packages and machine out of its record."""
    return {
        "mode": "online" if online else "offline",
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
    # and its login knows nothing of a run's own settings.
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
