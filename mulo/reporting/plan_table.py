"""A plan as tables on the terminal."""

from rich.console import Console
from rich.table import Table

from mulo.planning.memory import Peak
from mulo.planning.plan import Plan
from mulo.reporting.units import of_bytes, of_seconds, scaled


def print_plan(plan: Plan, console: Console) -> None:
    """Optimizees, then the parts of the job, memory and what the numbers rest on."""
    console.print(f"θ has {plan.theta_parameters:,} parameters. Planned for {plan.device}.", soft_wrap=True)
    console.print(_optimizees(plan))
    console.print(_phases(plan))
    for job, peak in plan.memory.items():
        fits = _fits(peak.total, plan.memory_available)
        console.print(f"Peak memory of {job}: {of_bytes(peak.total)}{fits} {held_by(peak)}.", soft_wrap=True)
    for line in plan.assumptions:
        console.print(line, soft_wrap=True, highlight=False)


def held_by(peak: Peak) -> str:
    """What holds the memory, such as `500 MB Python and its libraries, 40 MB compiler, 6 MB data`."""
    return ", ".join(f"{of_bytes(size)} {name}" for name, size in peak.parts.items())


def _fits(needed: float, available: float | None) -> str:
    if available is None:
        return "."
    return f" of {of_bytes(available)}" + ("." if needed <= available else ": it does NOT fit.")


def _optimizees(plan: Plan) -> Table:
    table = Table("optimizee", title="One inner step of one training")
    for column in ("parameters", "arithmetic", "memory traffic", "time"):
        table.add_column(column, justify="right")
    for row in plan.optimizees:
        sizes = f"{row.parameters:,}", scaled(row.inner_step_flops, "FLOP"), of_bytes(row.inner_step_bytes)
        table.add_row(row.name, *sizes, of_seconds(row.inner_step_seconds))
    return table


def _phases(plan: Plan) -> Table:
    table = Table("part", title="The job")
    for column in ("inner steps", "arithmetic", "memory traffic", "time"):
        table.add_column(column, justify="right")
    for row in plan.phases:
        numbers = scaled(row.flops, "FLOP"), of_bytes(row.bytes), of_seconds(row.seconds)
        table.add_row(row.name, scaled(row.inner_steps, ""), *numbers)
    table.add_section()
    table.add_row("in all", "", "", "", of_seconds(plan.seconds), style="bold")
    return table
