"""mode=parameters: which multiplier applies to which parameter of the task's networks?"""

from pathlib import Path

from mulo.config import Config, TaskBase
from mulo.jobs.networks import tasks
from mulo.models.attention import head_size
from mulo.reporting.parameter_table import ParameterRow, parameter_table, write_parameters
from mulo.reporting.progress import wide_console
from mulo.tasks import SupervisedTask


def parameters(config: Config, folder: Path) -> int:
    """Prints one table per network and writes all of them to parameters.csv."""
    rows, console = [], wide_console()
    for task in tasks(config):
        table = [_row(config, task, path) for path in task.parameters]
        console.print(
            parameter_table(table, f"{task.name}, {task.parametrization.name}, under {config.optimizer.name}")
        )
        for line in _besides(task, next(part for part in config.task.parts if part.architecture == task.architecture)):
            console.print(line, soft_wrap=True)
        rows += table
    write_parameters(rows, folder / "parameters.csv")
    console.print(f"Table: {folder / 'parameters.csv'}", soft_wrap=True)
    return 0


def _row(config: Config, task: SupervisedTask, path: str) -> ParameterRow:
    parameter = task.parameters[path]
    update, weight_decay, epsilon = config.optimizer.factors(parameter.multiplier, len(parameter.shape))
    return ParameterRow(
        task=task.name,
        parameter=path,
        role=parameter.role.value,
        shape="×".join(map(str, parameter.shape)),
        fan_in=parameter.fan_in,
        init_mean=parameter.rule.init_mean,
        init_std=parameter.init_std,
        forward=parameter.rule.forward,
        update=update,
        weight_decay=weight_decay,
        epsilon=epsilon,
    )


def _besides(task: SupervisedTask, part: TaskBase) -> list[str]:
    """What the parametrization scales that is no parameter."""
    lines = []
    if part.attends:
        size = head_size(part, task.width)  # type: ignore[arg-type]
        lines.append(f"Attention logits: q·k × {task.parametrization.logit_scale(size):.4g}, heads of size {size}.")
    if part.residual:
        lines.append(f"Residual branches: × {task.parametrization.branch:.4g}, {task.parametrization.blocks} blocks.")
    return lines
