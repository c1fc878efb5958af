"""mode=verify: replays a reference trajectory and reports how far this implementation is from it."""

from rich.console import Console
from rich.table import Table

from mulo.config import Config
from mulo.exchange.reference import read_reference, replay


def verify(config: Config, console: Console) -> int:
    """Prints the largest error of every tensor as a multiple of the tolerance; returns 1 if any is above 1, else 0."""
    reference = read_reference(str(config.reference))
    settings = reference.config
    console.print(
        f"Replaying {len(reference.losses)} steps of {settings.architecture} ({settings.parametrization}) "
        f"from {config.reference}.",
        soft_wrap=True,
    )
    errors = replay(reference)
    table = Table("tensor", "shape", "largest error / tolerance", "agrees")
    for name, error in errors.items():
        table.add_row(name, str(reference.params[name].shape), f"{error:.3g}", "yes" if error <= 1 else "NO")
    console.print(table)
    worst = max(errors, key=lambda name: errors[name])
    agrees = errors[worst] <= 1
    outcome = "Agreement" if agrees else "NO agreement"
    console.print(f"{outcome}: the largest error is {errors[worst]:.3g} times the tolerance, at tensor {worst}.")
    return 0 if agrees else 1
