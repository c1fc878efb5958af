"""Tables of sweeps, from their heads, and of records with their hours, from record.json.

python -m experiments.ledger writes LEDGER.md, and what follows `MARK` in experiments/README.md and sweeps/README.md.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

FOLDER = Path(__file__).parent
SWEEPS = FOLDER.parent / "sweeps"
MARK = "<!-- What follows is written by: python -m experiments.ledger -->\n"
HEADER = ("record", "planned", "jobs", "from first start to last end, h", "in jobs, h", "of it preparation, h")
GROUPS = {"figure": "Figures and tables of the paper", "ablation": "Ablations", "question": "Open questions"}


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def _heads() -> dict[str, dict[str, Any]]:
    """record.json by the record's name."""
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*/record.json"))}


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _row(name: str, head: dict[str, Any], seen: set[str]) -> list[Any]:
    jobs = head["jobs"]
    times = [datetime.fromisoformat(job[key]) for job in jobs for key in ("first_started", "ended") if job[key]]
    between = (max(times) - min(times)).total_seconds() if times else 0.0
    wall = sum(job["wall_seconds"] or 0.0 for job in jobs)
    planned = head["sweep"]["cost"].get(head["scale"], "–")
    return [f"[{name}]({name})", planned, len(jobs), _hours(between), _hours(wall), _hours(_prepared(jobs, seen))]


def _prepared(jobs: list[dict[str, Any]], seen: set[str]) -> float:
    """Seconds of meta-training and tuning; a shared meta-training counts in the first record alone."""
    total = 0.0
    for job in jobs:
        preparation = job["preparation"]
        if preparation["shared"] not in seen:
            total += preparation["seconds"] or 0.0
        seen |= {preparation["shared"]} - {None}
    return total


def ledger() -> str:
    """The text, from the stored records alone."""
    seen: set[str] = set()
    rows = [_row(name, head, seen) for name, head in _by_start(_heads())]
    return f"""# What the records of sweeps cost

Planned costs are those of the sweep's head, hours those of the jobs' clocks. Several jobs may run at a time, and the
last seconds of a killed job are missing. Meta-trainings that records share are counted in the first.

{table(HEADER, rows)}
"""


def _by_start(heads: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    def begun(item: tuple[str, dict[str, Any]]) -> str:
        return min((job["first_started"] for job in item[1]["jobs"] if job["first_started"]), default="")

    return sorted(heads.items(), key=begun)


def records() -> str:
    """What each record asks, by name."""
    rows = [[f"[{name}]({name})", head["sweep"]["question"].strip()] for name, head in _heads().items()]
    return table(("record", "asks"), rows) + "\n"


def sweeps() -> str:
    """A table for each folder of sweeps: what each asks, and what it costs on a CPU."""
    return "\n".join(f"## {title}\n{_sweeps(folder)}\n" for folder, title in GROUPS.items())


def _sweeps(folder: str) -> str:
    heads = [OmegaConf.load(path).sweep for path in sorted((SWEEPS / folder).glob("*.yaml"))]
    rows = [[f"[{head.name}]({head.name}.yaml)", head.question.strip(), head.cost.cpu.strip()] for head in heads]
    return table(("sweep", "asks", "costs at scale=cpu"), rows)


def written() -> dict[Path, str]:
    """All that this module writes, by file; text before `MARK` is unchanged."""
    files = {FOLDER / "README.md": records(), SWEEPS / "README.md": sweeps()}
    before = {path: path.read_text("utf-8").partition(MARK)[0] for path in files}
    return {FOLDER / "LEDGER.md": ledger()} | {path: before[path] + MARK + text for path, text in files.items()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, "utf-8")
