"""The direction of an objective, maximize or minimize; all comparisons of values use it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Direction(StrEnum):
    """Direction of an objective, spelled as in sweep files and in the store."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def sign(self) -> float:
        """Factor after which smaller values are better: -1 to maximize, 1 to minimize."""
        return -1.0 if self is Direction.MAXIMIZE else 1.0

    def key(self, value: Any) -> Any:
        """Return a sort key that puts the best value first, for a number, an array or an SQL column."""
        return self.sign * value

    def better_of(self, a: float, b: float) -> float:
        """Return the better of two values."""
        return b if self.better(b, a) else a

    def better(self, a: float, b: float) -> bool:
        """Return whether ``a`` is better than ``b``."""
        return a > b if self is Direction.MAXIMIZE else a < b
