"""Hours planned and spent for the records of sweeps: writes LEDGER.md from their record.json.

python -m experiments.ledger
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from experiments.records import table

FOLDER = Path(__file__).parent
HEADER = ("record", "planned", "jobs", "from first start to last end, h", "in jobs, h", "of it preparation, h")


def _heads() -> dict[str, dict[str, Any]]:
    """record.json by the record's name."""
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*/record.json"))}


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _row(name: str, head: dict[str, Any], seen: set[str]) -> list[Any]:
    jobs = head["jobs"]
    times = [datetime.fromisoformat(job[key]) for job in jobs for key in ("first_started", "ended") if job[key]]
    between = (max(times) - min(times)).total_seconds() if times else 0.0
    spent = sum(job["wall_seconds"] or 0.0 for job in jobs)
    planned = head["sweep"]["cost"].get(head["scale"], "–")
    return [f"[{name}]({name})", planned, len(jobs), _hours(between), _hours(spent), _hours(_prepared(jobs, seen))]


def _prepared(jobs: list[dict[str, Any]], seen: set[str]) -> float:
    """Seconds of meta-training and tuning; a shared meta-training counts in the first record alone."""
    total = 0.0
    for job in jobs:
        own = job["preparation"]
        if own["shared"] not in seen:
            total += own["seconds"] or 0.0
        seen |= {own["shared"]} - {None}
    return total


def ledger() -> str:
    """The text, from the stored records alone."""
    seen: set[str] = set()
    rows = [_row(name, head, seen) for name, head in _by_start(_heads())]
    return f"""# What the records of sweeps cost

Planned in words by the sweep's head; spent as the jobs' own clocks say. Several jobs may run at a time, and what a
killed job spent last is missing. Meta-trainings that records share are counted in the first.

{table(HEADER, rows)}
"""


def _by_start(heads: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    def begun(item: tuple[str, dict[str, Any]]) -> str:
        return min((job["first_started"] for job in item[1]["jobs"] if job["first_started"]), default="")

    return sorted(heads.items(), key=begun)


if __name__ == "__main__":
    (FOLDER / "LEDGER.md").write_text(ledger(), "utf-8")
