"""Sentences of a record: settings in common, seeds, cost, and where it was measured."""

from collections.abc import Sequence
from datetime import datetime

from mulo.reporting.labels import label_of_family
from mulo.reporting.record.contents import Job, Record
from mulo.reporting.record.trainings import differing
from mulo.reporting.units import of_seconds


def in_common(record: Record) -> str:
    """What all conditions share, such as `MLP on fashion_mnist_8x8, depth 3, 200 steps`."""
    shared = record.conditions.drop(columns=list(differing(record.conditions))).iloc[0]
    what = [label_of_family(shared.task)] if "task" in shared else []
    what += [f"on {shared.data}"] if "data" in shared else []
    sizes = [f"{name} {shared[name]}" for name in ("width", "depth") if name in shared]
    sizes += [f"{shared.num_steps} steps"] if "num_steps" in shared else []
    sizes += [f"{key}={shared[key]}" for key in record.varied if key in shared]
    return ", ".join([" ".join(what), *sizes] if what else sizes)


def seeds(record: Record) -> str:
    """How many meta-seeds and seeds each number is of."""
    metas = sorted({*record.results.meta_seed, *record.changes.meta_seed})
    text = f"{counted(len(metas), 'meta-seed')} ({', '.join(map(str, metas))})"
    if record.results.empty:
        return text
    counts = sorted(set(record.trainings.groupby(["run", "name"]).seed.nunique()))
    most = counted(counts[-1], "evaluation seed")
    return f"{text}, each with {most if len(counts) == 1 else f'{counts[0]} to {most}'}"


def counted(count: int, name: str) -> str:
    """The number with the noun in singular or plural."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def cost(record: Record) -> str:
    """Machine time of all jobs, and the time from the first start to the last end."""
    known = [job for job in record.jobs if job.wall_seconds is not None]
    text = f"{counted(len(record.jobs), 'job')}"
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
        values = dict.fromkeys(str(job.provenance[key]) for job in record.jobs if job.provenance.get(key) is not None)
        return " and ".join(values)

    cores, accelerator = of("cores"), of("accelerator")
    devices = [
        of("processor"),
        f"{cores} cores" if cores else "",
        "no accelerator" if accelerator == "none" else accelerator,
    ]
    parts = [
        f"Commit {of('commit')}" if of("commit") else "Commit not recorded",
        ", ".join(filter(None, devices)),
        ", ".join(f"{name} {of(key)}" for name, key in _VERSIONS.items() if of(key)),
        f"Gathered on {record.date}",
    ]
    return ". ".join(filter(None, parts)) + "."


_VERSIONS = {"Python": "python", "JAX": "jax", "mulo": "mulo"}
