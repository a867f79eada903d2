"""What repeats say: means with their intervals, and which configurations cannot be told from the best.

Only `scipy.special` is used: `scipy.stats` takes a second to import, which a command on a login node should not cost.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

CONFIDENCE: Final = 0.95
_NODES: Final = 96  # of each quadrature: four digits against SciPy up to 1,000 groups, three up to 10,000
_WIDEST: Final = 9.0  # standard deviations from zero beyond which a normal density adds nothing


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


@lru_cache(maxsize=256)
def studentized_range_quantile(level: float, groups: int, df: int) -> float:
    """Return the value that the studentized range stays below with probability ``level``.

    Args:
        level: Such as 0.95.
        groups: How many means there are, at least 2.
        df: Degrees of freedom of the standard deviation.
    """
    nodes, weights = _gauss_legendre()
    scales = np.sqrt(2 * gammaincinv(df / 2, (nodes + 1) / 2) / df)
    low, high = 0.0, 1.0
    while _probability(high * scales, groups) @ weights / 2 < level:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        is_low = _probability(middle * scales, groups) @ weights / 2 < level
        low, high = (middle, high) if is_low else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(_NODES)


def _probability(widths: npt.NDArray[np.float64], groups: int) -> npt.NDArray[np.float64]:
    """Return the probabilities that the range of k standard normal values stays below each of some widths.

    That is k ∫ φ(z) (Φ(z) - Φ(z - width))^(k-1) dz (Copenhaver and Holland, J. Statist. Comput. Simul. 1988).
    """
    nodes, weights = _gauss_legendre()
    z = _WIDEST * nodes
    density = _WIDEST * weights * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    inside = np.clip(ndtr(z) - ndtr(z - widths[:, None]), 0.0, 1.0) ** (groups - 1)
    found: npt.NDArray[np.float64] = groups * inside @ density
    return found
