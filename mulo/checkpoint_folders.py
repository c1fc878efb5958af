"""Which folders are checkpoints, and which are left by interrupted saves.

The last file of a save is checksums.json: a folder without it is none, unless a version that wrote none made it.
"""

import hashlib
import json
import shutil
from pathlib import Path

from mulo import weights
from mulo.errors import CheckpointError

CHECKSUMS = "checksums.json"
_ALLOWED = "Give a run directory, a folder under its checkpoints/, or a .safetensors file of mode=export."
_UNDER_WAY = ".orbax-checkpoint-tmp"
"""In the names of folders that Orbax has not finished."""


def find(path: str | Path) -> Path:
    """The checkpoint folder that a user's path means: itself, or the last one of a run directory.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise CheckpointError(f"{path} does not exist{_not_shipped(path)}. {_ALLOWED}")
    if (path / "meta").is_dir() and _finished(path):
        return path
    last = path / "checkpoints" / "last"
    if step := last_step(path) or last_step(last):
        return step
    if (path / "meta").is_dir() or _leftovers(path) or _leftovers(last):
        raise CheckpointError(
            f"{path} holds no checkpoint: its only save was interrupted. "
            "Start its meta-training again, or give another run directory."
        )
    raise CheckpointError(
        f"{path} holds no checkpoint: it has neither a meta folder nor checkpoints/last/<step>. {_ALLOWED}"
    )


def _not_shipped(path: Path) -> str:
    """What a word without a folder could have meant."""
    if len(path.parts) > 1:
        return ""
    return f", and no weights of this name ship with mulo ({', '.join(weights.shipped()) or 'none do'})"


def last_step(folder: Path) -> Path | None:
    """The checkpoint of the highest step directly inside a folder."""
    return next(reversed(_steps(folder)), None)


def keep_last(folder: Path, count: int) -> None:
    """Removes all but the last few checkpoints; Orbax would do so before the newest is finished."""
    for step in _steps(folder)[:-count]:
        shutil.rmtree(step)


def _steps(folder: Path) -> list[Path]:
    steps = [child for child in folder.glob("*") if child.name.isdigit() and _finished(child)]
    return sorted(steps, key=lambda step: int(step.name))


def _leftovers(folder: Path) -> list[Path]:
    """What interrupted saves have left."""
    children = [child for child in folder.glob("*") if child.is_dir()]
    return [child for child in children if _UNDER_WAY in child.name or (child.name.isdigit() and not _finished(child))]


def _finished(folder: Path) -> bool:
    """Whether the save of this checkpoint came to its end."""
    if (folder / CHECKSUMS).exists():
        return True
    try:
        raw = json.loads((folder / "meta" / "metadata").read_text(encoding="utf-8"))
        return "checksums" not in raw and (folder / "theta").is_dir()  # of a version that wrote none
    except (OSError, ValueError, TypeError):
        return False


def clear(checkpoints: Path) -> None:
    """Removes what interrupted saves have left: a save of the same step would pass it over as done."""
    for kind in ("last", "best"):
        for folder in _leftovers(checkpoints / kind):
            shutil.rmtree(folder)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of θ: they show damage without loading JAX."""
    files = sorted(path for path in (folder / "theta").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_files(folder: Path) -> None:
    """Compares the files of θ with their checksums; raises ValueError where they differ."""
    path = folder / CHECKSUMS
    if not path.exists():  # of a version that wrote none; the arrays' own digests still hold
        return
    actual = checksums(folder)
    for name, checksum in json.loads(path.read_text(encoding="utf-8")).items():
        if actual.get(name) != checksum:
            raise ValueError(f"{name} is {'not what was written' if name in actual else 'missing'}")
