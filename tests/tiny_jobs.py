"""Jobs of seconds, in this process, for what only a test has registered."""

import json
from pathlib import Path

from rich.console import Console

from mulo.config import parse
from mulo.jobs.report import report
from mulo.launch import dispatch


def settings(folder, **groups):
    """Raw settings of a main job of seconds; `groups` replace what they name."""
    recipe = {"outer_steps": 2, "truncation": 2, "min_length": 2, "max_length": 4, "pairs": 2}
    return {
        "task": {"architecture": "mlp", "batch_size": 4, "widths": [2, 3], "depth": 1},
        "optimizer": {"architecture": "small_fc", "hidden_size": 2},
        "data": {"name": "synthetic", "shape": [3]},
        "evaluation": {"widths": [5], "num_steps": 2, "seeds": 1},
        "logger": {"name": "none"},
        "run_dir": str(folder / "runs/job"),
        **groups,
        "recipe": {**recipe, "outer": {"warmup_steps": 1}, **groups.get("recipe", {})},
    }


def run(raw):
    """Runs the job and returns its directory."""
    config = parse(raw)
    assert dispatch._lead(config, Console(quiet=True)) == 0
    return Path(config.run_dir)


def planned(raw, folder):
    """What mode=plan writes of a job."""
    path = folder / "plan.json"
    run({**raw, "mode": "plan", "plan": {"device": "h100", "output": str(path)}})
    return json.loads(path.read_text("utf-8"))


def reported(job, folder):
    """record.json and README of a record with this job."""
    request = {"mode": "report", "report": {"of": str(job.parent), "into": str(folder / "records"), "name": "toy"}}
    assert report(parse(request), Console(quiet=True)) == 0
    record, readme = (folder / "records/toy" / name for name in ("record.json", "README.md"))
    return json.loads(record.read_text("utf-8")), readme.read_text("utf-8")
