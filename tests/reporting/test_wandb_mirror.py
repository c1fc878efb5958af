import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mulo.config import LoggerConfig
from mulo.errors import ConfigError, MuloError
from mulo.reporting.wandb_mirror import WandbMirror, mode

OFFLINE = LoggerConfig(name="wandb")


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def children():
    """Command lines of this process's children that run W&B."""
    commands = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("PPid:"))
            command = status.with_name("cmdline").read_text(encoding="utf-8")
        except OSError:
            continue
        if int(parent.split()[1]) == os.getpid() and "wandb" in command:
            commands.append(command)
    return commands


def written(run_dir):
    """Bytes of all records of the runs in a folder, oldest first."""
    return [path.read_bytes() for path in sorted((run_dir / "wandb").glob("offline-run-*/*.wandb"))]


def test_none_imports_no_wandb_and_writes_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mulo.config import LoggerConfig\n"
        "from mulo.reporting.wandb_mirror import WandbMirror\n"
        "with WandbMirror(LoggerConfig(name='none'), Path(sys.argv[1]), {}) as mirror:\n"
        "    mirror.log({'outer_step': 1}); mirror.picture('p', Path('missing.png'))\n"
        "sys.exit(sum(name.split('.')[0] == 'wandb' for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("logger", ["wandb", "wandb_online"])
def test_disabled_by_the_variable_leaves_nothing(tmp_path, monkeypatch, logger):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with WandbMirror(LoggerConfig(name=logger), tmp_path / "run", {}) as mirror:
        mirror.log({"outer_step": 1})
        mirror.picture("p", Path("missing.png"))
        assert children() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wish", ["offline", "dryrun"])
def test_offline_by_the_variable_sends_nothing(tmp_path, monkeypatch, wish):
    monkeypatch.setenv("WANDB_MODE", wish)
    monkeypatch.setenv("WANDB_API_KEY", "too short")  # the network would refuse it
    with WandbMirror(LoggerConfig(name="wandb_online"), tmp_path, {}) as mirror:
        mirror.log({"outer_step": 1})
    assert len(written(tmp_path)) == 1


def test_online_by_the_variable_needs_a_key(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    with pytest.raises(MuloError, match="WANDB_MODE=online could not start W&B"):
        WandbMirror(OFFLINE, tmp_path, {})
    assert children() == []


def test_the_variable_cannot_say_what_is_unknown_and_none_stays_none(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ConfigError, match="WANDB_MODE=ofline is invalid; expected one of online, run, "):
        mode(OFFLINE)
    monkeypatch.setenv("WANDB_MODE", "online")
    assert mode(LoggerConfig(name="none")) == "disabled"
    monkeypatch.setenv("WANDB_MODE", "")
    assert mode(OFFLINE) == "offline"


def test_offline_writes_its_files_silently_and_leaves_nothing_running(tmp_path, capfd):
    hooks, environment, threads = (sys.exit, sys.excepthook), dict(os.environ), threading.active_count()
    with WandbMirror(OFFLINE, tmp_path / "run", {"optimizer": {"name": "velo_mup"}}) as mirror:
        assert children() or not Path("/proc").exists()
        for step in range(1, 4):
            mirror.log({"outer_step": step, "meta_loss": float("nan") if step == 2 else 1 / step})
    assert children() == []
    assert threading.active_count() == threads
    assert (sys.exit, sys.excepthook) == hooks
    assert dict(os.environ) == environment
    assert capfd.readouterr() == ("", "")
    (record,) = written(tmp_path / "run")
    for word in (b"outer_step", b"meta_loss", b"velo_mup", b"0.3333333333333333"):
        assert word in record


def test_the_record_tells_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "name-of-the-machine")
    with WandbMirror(OFFLINE, tmp_path, {}) as mirror:
        mirror.log({"outer_step": 1})
    (record,) = written(tmp_path)
    for word in ("name-of-the-machine", os.getcwd(), "requirements.txt", "wandb-metadata.json"):
        assert word.encode() not in record


def test_a_resumed_job_continues_its_run_and_another_job_has_its_own(tmp_path):
    ids = []
    for folder in ("a", "b", "a"):
        with WandbMirror(OFFLINE, tmp_path / folder, {}) as mirror:
            mirror.log({"outer_step": 1})
        ids.append((tmp_path / folder / "wandb_id.txt").read_text(encoding="utf-8").strip())
    assert ids[0] == ids[2] != ids[1]
    for folder, run_id in zip("ab", ids, strict=False):
        files = {path.name for path in (tmp_path / folder).glob("wandb/offline-run-*/*.wandb")}
        assert files == {f"run-{run_id}.wandb"}


def test_pictures_are_kept_with_the_run(tmp_path):
    from matplotlib.figure import Figure

    Figure(figsize=(1, 1)).savefig(tmp_path / "dot.png")
    with WandbMirror(OFFLINE, tmp_path, {}) as mirror:
        mirror.picture("curves", tmp_path / "dot.png")
    (copy,) = (tmp_path / "wandb").glob("offline-run-*/files/media/images/*.png")
    assert copy.read_bytes() == (tmp_path / "dot.png").read_bytes()


def test_an_exception_closes_the_run_and_passes_through(tmp_path):
    def run():
        with WandbMirror(OFFLINE, tmp_path, {}) as mirror:
            mirror.log({"outer_step": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert children() == []


def test_closing_twice_is_harmless_and_a_closed_mirror_ignores_rows(tmp_path):
    mirror = WandbMirror(OFFLINE, tmp_path, {})
    mirror.close()
    before = written(tmp_path)
    mirror.close()
    mirror.log({"outer_step": 99})
    assert written(tmp_path) == before


def test_online_without_a_key_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    with pytest.raises(MuloError, match=r"logger=wandb_online could not start W&B .* use logger=wandb"):
        WandbMirror(LoggerConfig(name="wandb_online"), tmp_path, {})
    assert children() == []
