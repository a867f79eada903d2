"""What repeats say: means with their intervals, and which configurations cannot be told from the best.

Only `scipy.special` is used: `scipy.stats` takes a second to import, which a command on a login node should not cost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

CONFIDENCE: Final = 0.95


def wilson(successes: float, n: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's score interval for a share (Wilson, JASA 1927), such as an accuracy on n images."""
    z = float(ndtri((1 + confidence) / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    measure: Callable[[npt.NDArray[np.intp]], float], n: int, *, draws: int = 1000, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the percentile interval of a measure over draws of n items with replacement (Efron, Ann. Statist. 1979).

    Args:
        measure: Indices of the items that were drawn, shape (n,), to a value; draws whose value is NaN are left out.
        n: How many items there are.
        draws: How many times they are drawn.
        confidence: Of the interval.
    """
    random = np.random.default_rng(0)
    values = [measure(random.integers(0, n, n)) for _ in range(draws)]
    low, high = np.nanpercentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)
