"""What running something costs: arithmetic and memory traffic."""

from typing import NamedTuple


class Cost(NamedTuple):
    """Of running something once."""

    flops: float
    bytes: float
    """Read from and written to main memory, where nothing that is needed again stays in cache."""

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def times(self, count: float) -> "Cost":
        """Of running it `count` times."""
        return Cost(self.flops * count, self.bytes * count)
