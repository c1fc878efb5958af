"""What a record says in words: settings in common, seeds, cost, and where it was measured."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from mulo.reporting.labels import label_of_family
from mulo.reporting.record.cells import Cells, differing
from mulo.reporting.record.contents import Job, Record
from mulo.reporting.units import of_seconds

_SAID = ("width", "depth", "steps")


def in_common(record: Record, cells: Cells) -> str:
    """What all places share, such as `MLP on fashion_mnist_8x8, depth 3, 200 steps`."""
    varies = {name for name, _ in differing(cells, record)}
    first = next(iter(cells))
    parts = [] if "task" in varies else [label_of_family(first.task)]
    parts += [] if "data" in varies else [f"on {first.data}"]
    text = " ".join(parts)
    sizes = [f"{getattr(first, name)} steps" if name == "steps" else f"{name} {getattr(first, name)}" for name in _SAID]
    own = [size for name, size in zip(_SAID, sizes, strict=True) if name not in varies]
    own += [f"{k}={v}" for k, v in zip(record.varied, first.settings, strict=True) if k not in varies]
    return ", ".join([text, *own] if text else own)


def seeds(record: Record) -> str:
    """How many meta-seeds and seeds stand behind each number."""
    metas = sorted({row.meta_seed for row in record.losses} | {own.meta_seed for own in record.movements})
    inner = sorted({row.result.seed for row in record.losses})
    text = f"{_counted(len(metas), 'meta-seed')} ({_listed(metas)})"
    return f"{text}, each with {_counted(len(inner), 'evaluation seed')}" if inner else text


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def cost(record: Record) -> str:
    """Machine time of all jobs, and the time from the first start to the last end."""
    known = [job for job in record.jobs if job.wall_seconds is not None]
    text = f"{_counted(len(record.jobs), 'job')}"
    if known:
        text += f", together {of_seconds(sum(job.wall_seconds or 0.0 for job in known))} of wall time"
    span = _span(record.jobs)
    return f"{text}, in {of_seconds(span)} from first start to last end." if span is not None else f"{text}."


def _span(jobs: Sequence[Job]) -> float | None:
    begun = [job.first_started for job in jobs if job.first_started]
    ended = [job.ended for job in jobs if job.ended]
    if not (begun and ended):
        return None
    return (datetime.fromisoformat(max(ended)) - datetime.fromisoformat(min(begun))).total_seconds()


def origin(record: Record) -> str:
    """Hardware, commit and versions of the jobs, and the date of the record."""

    def of(key: str) -> str:
        found = dict.fromkeys(str(job.provenance[key]) for job in record.jobs if job.provenance.get(key) is not None)
        return " and ".join(found)

    cores, accelerator = of("cores"), of("accelerator")
    parts = [
        f"Commit {of('commit')}" if of("commit") else "Commit not recorded",
        ", ".join(filter(None, [of("processor"), f"{cores} cores" if cores else "", _accelerator(accelerator)])),
        ", ".join(f"{name} {of(key)}" for name, key in _VERSIONS.items() if of(key)),
        f"Gathered on {record.date}",
    ]
    return ". ".join(filter(None, parts)) + "."


_VERSIONS = {"Python": "python", "JAX": "jax", "mulo": "mulo"}


def _accelerator(name: str) -> str:
    return "no accelerator" if name == "none" else name
