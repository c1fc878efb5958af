"""Numbers of any size as a person reads them."""

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def scaled(value: float, unit: str) -> str:
    """Three digits with a decimal prefix: 1.23 TFLOP, 45.6 GB."""
    power = 0
    while abs(value) >= 999.5 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_PREFIXES[power]}{unit}".strip()


def of_bytes(value: float) -> str:
    """In kB, MB, GB (powers of 1000)."""
    return scaled(value, "B")


def of_seconds(value: float) -> str:
    """From µs to days."""
    for size, unit in ((86400 * 3, "d"), (5400, "h"), (90, "min"), (1, "s"), (1e-3, "ms")):
        if value >= size:
            return f"{value / {'d': 86400, 'h': 3600, 'min': 60}.get(unit, size):.3g} {unit}"
    return f"{value * 1e6:.3g} µs"
