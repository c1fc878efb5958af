"""The shell commands that README and guides show, and what stands for their placeholders."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXTS = ["README.md", "CONTRIBUTING.md", "sweeps/README.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}\S.*\n)+")
RUN = ["python", "-m", "mulo.run"]

COMPOSED = {
    "hydra/launcher=submitit_slurm": "needs SLURM",
    "scale=paper": "needs accelerators and downloaded images",
}
"""A word of each command that is composed and never run, and why."""


def shell_blocks(text: str) -> list[str]:
    """Fenced as bash or sh, or indented by four spaces after an empty line."""
    fenced = [body for _, kind, body in _FENCED.findall(text) if kind in ("bash", "sh", "shell", "console")]
    return [*fenced, *_INDENTED.findall(_FENCED.sub("", text))]


def commands(path: str) -> list[list[str]]:
    """Words of every command of one text; a backslash joins lines, a hash starts a comment."""
    found = []
    for block in shell_blocks((ROOT / path).read_text("utf-8")):
        lines = block.replace("\\\n", " ").splitlines()
        found += [shlex.split(_quoted(line), comments=True) for line in lines]
    return [words for words in found if words]


def _quoted(line: str) -> str:
    """Placeholders such as <run directory> stand for one word."""
    return re.sub(r"<[^<>]*>", lambda name: name[0].replace(" ", "_").replace("<", "@").replace(">", "@"), line)


def all_commands() -> list[tuple[str, ...]]:
    """Of all texts, each once."""
    return list(dict.fromkeys(tuple(words) for path in TEXTS for words in commands(path)))


def mulo_commands() -> list[tuple[str, ...]]:
    """What follows `python -m mulo.run` in each of its commands."""
    return [words[3:] for words in all_commands() if list(words[:3]) == RUN]


def only_composed(words: tuple[str, ...]) -> bool:
    """Whether a command needs what a test does not have."""
    return any(word in COMPOSED for word in words)


def filled(words: tuple[str, ...], run_directory: str, tar: str) -> list[str]:
    """The words with something in the place of each placeholder.

    Args:
        words: of one command.
        run_directory: of a finished meta-training.
        tar: CIFAR-10 as it is published.
    """
    places = {
        "@run_directory@": run_directory,
        "@folder@": str(Path(tar).parent),
        "@file.npz@": str(ROOT / "tests/reference/velo_mup.npz"),
        "/data/cifar-10-binary.tar.gz": tar,
    }
    found = [part for word in words for part in (_MORE if word == "…" else [word])]
    for name, value in places.items():
        found = [word.replace(name, value) for word in found]
    return found


_MORE = ["optimizer=small_fc_mup", "task=mlp"]
"""In docs/planning.md `…` stands for a row of the table below it."""
