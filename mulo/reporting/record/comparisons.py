"""Ranks of a record's contestants, and how much sooner they reach what a reference ends with."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mulo.evaluation.statistics import Interval, ranks, speedup
from mulo.reporting.labels import label_of_family, looks
from mulo.reporting.record.cells import Cells, Place, array, curves, steps_of
from mulo.reporting.record.contents import Loss, Record

MOMENTS = (0.2, 0.6)
"""Of the horizon: steps 1,000 and 3,000 of 5,000, as in µLO's table of ranks."""


class Ranking(NamedTuple):
    """Mean ranks of all contestants over some places."""

    title: str
    places: int
    left_out: int
    """Places where some contestant has no results."""
    ranks: dict[str, Interval]


def rankings(record: Record, cells: Cells) -> list[Ranking]:
    """By final training loss over all places, over those of each task and those furthest out on each axis.

    The last are the places of the largest width, depth or number of steps (µLO, figure 1b); and of all places the ranks
    on the way, by the curves.
    """
    names = list(dict.fromkeys(name for own in cells.values() for name in own))
    if len(names) < 2:
        return []
    tasks = list(dict.fromkeys(place.task for place in cells))
    groups = [("all tasks" if len(tasks) > 1 else label_of_family(tasks[0]), list(cells))]
    groups += [(label_of_family(task), [p for p in cells if p.task == task]) for task in tasks if len(tasks) > 1]
    groups += _furthest(list(cells))
    found = [_ranking(f"{title}, at the end", cells, own, names, _final) for title, own in groups]
    for moment in MOMENTS if record.curves else ():
        title, own = groups[0]
        found.append(_ranking(f"{title}, at {moment:.0%} of the steps", cells, own, names, _on_the_way(record, moment)))
    return [one for one in found if one is not None]


def _furthest(places: Sequence[Place]) -> list[tuple[str, list[Place]]]:
    """For each axis on which places differ, those at its largest value."""
    found = []
    for axis in ("width", "depth", "steps"):
        values = [getattr(place, axis) for place in places]
        if len(set(values)) > 1:
            own = [place for place in places if getattr(place, axis) == max(values)]
            found.append((f"{max(values)} steps" if axis == "steps" else f"{axis} {max(values)}", own))
    return found


_LossesOf = Callable[[Sequence[tuple[Place, list[Loss]]]], np.ndarray]
"""[places, meta-seeds, seeds] of one contestant."""


def _final(places: Sequence[tuple[Place, list[Loss]]]) -> np.ndarray:
    return array([rows for _, rows in places], "train_loss")


def _on_the_way(record: Record, moment: float) -> _LossesOf:
    def losses(places: Sequence[tuple[Place, list[Loss]]]) -> np.ndarray:
        found = [(place, curves(record, rows)) for place, rows in places]
        jobs = sorted(set.intersection(*(set(own) for _, own in found)))
        if not jobs:
            return np.empty((len(found), 0, 0))
        seeds = min((len(own[job]) for _, own in found for job in jobs))
        points = [int(np.searchsorted(steps_of(record, place), moment * place.steps)) for place, _ in found]
        values = [[own[job][:seeds, i] for job in jobs] for (_, own), i in zip(found, points, strict=True)]
        return np.array(values, float).reshape(len(found), len(jobs), seeds)

    return losses


def _ranking(
    title: str, cells: Cells, places: Sequence[Place], names: Sequence[str], losses: _LossesOf
) -> Ranking | None:
    shared = [place for place in places if len(cells[place]) == len(names)]
    found = {name: losses([(place, cells[place][name]) for place in shared]) for name in names} if shared else {}
    if not found or not all(own.size for own in found.values()):
        return None
    worst = {name: np.where(np.isfinite(own), own, math.inf) for name, own in found.items()}
    return Ranking(title, len(shared), len(places) - len(shared), ranks(worst))


def reference(record: Record, cells: Cells) -> str | None:
    """Whom speedups are measured against: the first baseline, else the first claim's `than`, where they took part."""
    names = {name for own in cells.values() for name in own}
    baselines = [text for name, look in looks(learned=False).items() for text in (look.label, name)]
    wished = [*baselines, *(claim.than for claim in record.sweep.claims)]
    return next((name for name in wished if name in names), None)


def largest(cells: Cells) -> list[Place]:
    """Of places that differ in their width alone, the widest."""
    widest: dict[Place, Place] = {}
    for place in cells:
        group = place._replace(width=0)
        widest[group] = max(place, widest.get(group, place), key=lambda own: own.width)
    return list(widest.values())


def speedups(record: Record, cells: Cells, than: str) -> dict[Place, dict[str, float | None]]:
    """At the largest widths, by contestant; None where the reference's last loss is not reached.

    Curves are means over all meta-seeds and seeds; a curve ends where the first of its seeds diverges.
    """
    found: dict[Place, dict[str, float | None]] = {}
    for place in largest(cells):
        means = {name: mean_curve(record, rows) for name, rows in cells[place].items()}
        target = means.get(than)
        if target is not None:
            steps = steps_of(record, place)
            own = {name: curve for name, curve in means.items() if curve is not None and name != than}
            found[place] = {name: speedup(steps, curve, target) for name, curve in own.items()}
    return {place: own for place, own in found.items() if own}


def mean_curve(record: Record, rows: Sequence[Loss]) -> np.ndarray | None:
    """[points] over all meta-seeds and seeds of one cell, nan from the first divergence on; None without curves."""
    own = curves(record, rows)
    return np.concatenate(list(own.values())).mean(axis=0) if own else None
