"""Settings under their former names: in checkpoints, run directories and commands that people remember."""

from collections.abc import Callable, Mapping
from typing import Any

from mulo.config.registry import GROUPS

KEYS: dict[str, str] = {
    "evaluation.adamw": "evaluation.baselines.adamw",
    "evaluation.mu_adam": "evaluation.baselines.mu_adam",
    "evaluation.steps": "evaluation.num_steps",
    "tuning.steps": "tuning.num_steps",
}
"""Former dotted key → today's, of a setting or a group. Those of an optimizer, a task or data begin with that word, and
hold wherever one is configured, as in `evaluation.task`."""
FOLDERS = {"contestant": "method"}
"""Former name → today's of a folder under sweeps/, as in `+contestant=mulo_m`."""
OVERRIDES = {
    "evaluation.baselines=[]": "evaluation.baselines=null",
    "evaluation.baselines=[adamw]": "evaluation.baselines.mu_adam=null",
    "evaluation.baselines=[mu_adam]": "evaluation.baselines.adamw=null",
}
"""Former argument of the command line → today's, where the value changes too."""


def _architecture(task: dict[str, Any]) -> None:
    """The name chose the settings once, and tasks of several widths had names of their own."""
    if isinstance(task.get("name"), str):
        task.setdefault("architecture", task["name"].removesuffix("_multiwidth"))


def _baselines(evaluation: dict[str, Any]) -> None:
    """A list said which of two baselines take part."""
    names = evaluation.get("baselines")
    if isinstance(names, list):
        settings = {name: evaluation.pop(name) for name in ("adamw", "mu_adam") if name in evaluation}
        evaluation["baselines"] = {name: settings[name] for name in names if name in settings}


DERIVED: dict[str, Callable[[dict[str, Any]], None]] = {"task": _architecture, "evaluation": _baselines}
"""By dotted key of a group: changes settings of an older form in place, where renaming alone does not do."""


def current(raw: Any, group: str = "") -> Any:
    """Raw settings of a job, or of one `group`, under today's keys; a value under a former key wins."""
    settings: Any = _copied(raw)
    for path, derive in DERIVED.items():
        node = _node(settings, _below(path, group))
        if isinstance(node, dict):
            derive(node)
    for old, new in KEYS.items():
        _move(settings, _below(old, group), _below(new, group))
    return settings


def key(dotted: str) -> str:
    """Today's name of what an override sets: `evaluation.num_steps`, or the package in `optimizer@evaluation.adamw`."""
    chosen, at, package = dotted.rpartition("@")
    for old, new in (KEYS | FOLDERS).items():
        for outer in ("", "evaluation.") if old.split(".")[0] in GROUPS else ("",):
            if f"{package}.".startswith(f"{outer}{old}."):
                return f"{chosen}{at}{outer}{new}{package.removeprefix(outer + old)}"
    return dotted


def _copied(raw: Any) -> Any:
    return {name: _copied(value) for name, value in raw.items()} if isinstance(raw, Mapping) else raw


def _below(dotted: str, group: str) -> list[str] | None:
    """The key's parts as seen from the group, none for the group itself; None for what lies outside."""
    parts, above = dotted.split("."), group.split(".") if group else []
    return parts[len(above) :] if parts[: len(above)] == above else None


def _node(settings: Any, path: list[str] | None) -> Any:
    for name in [] if path is None else path:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return None if path is None else settings


def _move(settings: Any, old: list[str] | None, new: list[str] | None) -> None:
    node = _node(settings, old[:-1] if old else None)
    if not (isinstance(node, dict) and old and new and old[-1] in node):
        return
    target = settings
    for name in new[:-1]:
        target = target.setdefault(name, {})
    value, known = node.pop(old[-1]), target.get(new[-1])
    target[new[-1]] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
