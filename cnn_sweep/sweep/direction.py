"""Which of two values is better: the one place that knows."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Direction(StrEnum):
    """What is wanted of a metric, as sweep files and the store spell it."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def sign(self) -> float:
        """Factor that makes smaller values better: -1 to maximize, 1 to minimize."""
        return -1.0 if self is Direction.MAXIMIZE else 1.0

    def key(self, value: Any) -> Any:
        """Return what sorts values with the best one first; of a number, an array, or a column in SQL."""
        return self.sign * value

    def better_of(self, a: float, b: float) -> float:
        """Return the better of two values."""
        return b if self.better(b, a) else a

    def better(self, a: float, b: float) -> bool:
        """Return whether ``a`` is better than ``b``."""
        return a > b if self is Direction.MAXIMIZE else a < b
