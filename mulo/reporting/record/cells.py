"""A record's losses by place and contestant: what tables, statistics and pictures start from."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mulo.evaluation.statistics import Spread, spread
from mulo.reporting.labels import label
from mulo.reporting.record.contents import Loss, Record


class Place(NamedTuple):
    """On which contestants compete: a network, its data, a number of steps, and values of what else varies."""

    task: str
    data: str
    width: int
    depth: int
    steps: int
    settings: tuple[str, ...] = ()
    """In the order of `Record.varied`."""


Cells = dict[Place, dict[str, list[Loss]]]
"""Rows by place and contestant: all meta-seeds and seeds."""


def by_place(record: Record) -> Cells:
    """All rows, sorted by place; contestants in the order of `contestants`."""
    found: Cells = {}
    names = contestants(record)
    for row in record.losses:
        own = row.result
        place = Place(own.task, row.data, own.width, own.depth, own.steps, tuple(row.settings.values()))
        found.setdefault(place, {}).setdefault(names[own.optimizer, own.parametrization], []).append(row)
    ordered = sorted(found, key=_order)
    return {place: {name: found[place][name] for name in names.values() if name in found[place]} for place in ordered}


def _order(place: Place) -> tuple[object, ...]:
    return (*place[:-1], tuple((as_number(value) is None, as_number(value) or 0.0, value) for value in place.settings))


def contestants(record: Record) -> dict[tuple[str, str], str]:
    """Printed names by contestant and parametrization, which is named where a contestant has several.

    Those that claims are about come first.
    """
    found = dict.fromkeys((row.contestant, row.result.parametrization) for row in record.losses)
    claimed = list(dict.fromkeys(name for claim in record.sweep.claims for name in (claim.better, claim.than)))
    pairs = sorted(found, key=lambda pair: claimed.index(pair[0]) if pair[0] in claimed else len(claimed))
    names = [name for name, _ in pairs]
    return {pair: f"{pair[0]} in {label(pair[1])}" if names.count(pair[0]) > 1 else pair[0] for pair in pairs}


def as_number(text: str) -> float | None:
    """A setting's value as a number, where it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def _value(row: Loss, split: str) -> float:
    if split == "initial_loss":
        return row.initial_loss
    return math.inf if row.result.diverged else float(getattr(row.result, split))


def spread_of(rows: Sequence[Loss], split: str) -> Spread:
    """Median, quartiles and counts of one cell; what failed has no loss and is left out."""
    ran = [row for row in rows if not row.result.failed]
    return spread([_value(row, split) for row in ran], [row.initial_loss for row in ran])


def array(places: Sequence[Sequence[Loss]], split: str) -> np.ndarray:
    """[places, meta-seeds, seeds] of one contestant: inf where a seed diverged, nan where the training failed.

    Meta-seeds and seeds that some place lacks are left out, so that there may be none.
    """
    found = [{(row.meta_seed, row.result.seed): row for row in rows} for rows in places]
    pairs = set.intersection(*map(set, found)) if found else set()
    jobs, seeds = (sorted({pair[i] for pair in pairs}) for i in (0, 1))
    jobs = [job for job in jobs if all((job, seed) in pairs for seed in seeds)]
    values = [[[_entry(own[job, seed], split) for seed in seeds] for job in jobs] for own in found]
    return np.array(values, float).reshape(len(places), len(jobs), len(seeds))


def _entry(row: Loss, split: str) -> float:
    return math.nan if row.result.failed else _value(row, split)


def curves(record: Record, rows: Sequence[Loss]) -> dict[int, np.ndarray]:
    """Smoothed training curves [seeds, points] of one cell by meta-seed; none where nothing was trained."""
    keys = dict.fromkeys((row.meta_seed, row.key) for row in rows)
    return {meta_seed: record.curves[key] for meta_seed, key in keys if key in record.curves}


def steps_of(record: Record, place: Place) -> np.ndarray:
    """The inner steps at which training curves of a place are given."""
    return record.curves[f"n{place.steps}/steps"]


def differing(cells: Mapping[Place, object], record: Record) -> list[tuple[str, list[str]]]:
    """Names and values (one per place) of what places differ in."""
    columns = [(name, [str(getattr(place, name)) for place in cells]) for name in Place._fields[:-1]]
    columns += [(key, [place.settings[i] for place in cells]) for i, key in enumerate(record.varied)]
    return [(name, values) for name, values in columns if len(set(values)) > 1]
