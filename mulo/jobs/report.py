"""mode=report: the directory of a sweep's jobs becomes a record, or a record is written anew from what it holds."""

from pathlib import Path

from rich.console import Console

from mulo.config import Config
from mulo.errors import ConfigError
from mulo.process import writable


def check(config: Config) -> None:
    """Refuses a source that is neither a record nor a sweep's directory, and a target that holds something else."""
    from mulo.jobs.job_folders import jobs_of  # pandas, which no other mode needs before its results
    from mulo.reporting import record

    source = _source(config)
    if not source.is_dir():
        allowed = "a record, or the directory of a sweep's jobs, such as runs/figure/width-cpu"
        raise ConfigError.value("report.of", source, allowed, "There is no such directory.")
    if record.is_record(source):
        if config.report.name is not None:
            advice = "To rename a record, rename its folder."
            raise ConfigError.value("report.name", config.report.name, "null where report.of is a record", advice)
        record.read(source)
        writable.check(source, "report.of=<directory>")
        return
    first = jobs_of(source)[0].config
    folder = target(config, first)
    _check_target(folder, first)
    writable.check(folder, "report.into=<folder>")


def _source(config: Config) -> Path:
    return Path(str(config.report.of))


def target(config: Config, job: Config) -> Path:
    """`report.into`/`report.name`; the name of a sweep such as figure/width becomes figure_width."""
    name = config.report.name or (job.sweep.name or _source(config).resolve().name).replace("/", "_")
    return Path(config.report.into) / name


def _check_target(folder: Path, job: Config) -> None:
    from mulo.reporting import record

    if not folder.exists():
        return
    advice = "Choose another name with report.name=<name>."
    if not folder.is_dir() or (any(folder.iterdir()) and not record.is_record(folder)):
        raise ConfigError(f"{folder} exists and is not a record. {advice}")
    if record.is_record(folder):
        stored = record.read(folder)
        if (stored.sweep.name, stored.scale) != (job.sweep.name, job.scale):
            sweep = f"{stored.sweep.name} at scale {stored.scale}"
            raise ConfigError(f"{folder} holds the record of another sweep, {sweep}. {advice}")


def report(config: Config, console: Console) -> int:
    """Gathers and writes, or writes anew; returns 0."""
    from mulo.jobs.gather import gather
    from mulo.jobs.job_folders import jobs_of
    from mulo.reporting import record

    folder = source = _source(config)
    if not record.is_record(source):
        jobs = jobs_of(source)
        gathered, folder = gather(jobs), target(config, jobs[0].config)
        record.write(gathered, folder)
        missing = sum(job.status != "finished" for job in gathered.jobs)
        if missing:
            console.print(f"{missing} of {len(gathered.jobs)} jobs did not finish; the record says which.")
    record.write_up(folder, console)
    console.print(f"Record: {folder / 'README.md'}, index.html and figure beside it.", soft_wrap=True)
    return 0
