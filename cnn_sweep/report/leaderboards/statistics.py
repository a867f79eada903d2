"""Confidence intervals and quantiles: Wilson's interval, the bootstrap, the studentized range.

Only ``scipy.special`` is used: importing ``scipy.stats`` takes a second, too long for a command on a login node.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import bdtr, gammaincinv, ndtr, ndtri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

CONFIDENCE: Final = 0.95
NORMAL_QUANTILE: Final = float(ndtri((1 + CONFIDENCE) / 2))
_NODES: Final = 96  # nodes of each quadrature: four digits against SciPy up to 1,000 groups, three up to 10,000
_WIDEST: Final = 9.0  # standard deviations from zero beyond which the normal density is negligible


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the two-sided p-value of McNemar's test (Psychometrika 1947), by the exact binomial distribution.

    Args:
        only_one: Number of images that only one of two classifiers gets right.
        only_other: Number of images that only the other one gets right.
    """
    return min(1.0, 2 * float(bdtr(min(only_one, only_other), only_one + only_other, 0.5)))


def wilson(successes: float, n: float, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's score interval (JASA 1927) for a proportion, such as an accuracy on n images.

    It holds the proportion itself: rounding must not leave out a perfect score.
    """
    z = float(ndtri((1 + confidence) / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def bootstrap(
    measure: Callable[[npt.NDArray[np.intp]], float],
    n: int,
    *,
    groups: Sequence[npt.NDArray[np.intp]] | None = None,
    draws: int = 1000,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Return the bootstrap percentile interval (Efron, Ann. Statist. 1979) of a measure of n items.

    Args:
        measure: Maps the indices of the drawn items, shape (n,), to a value; draws with the value NaN are left out.
        n: Number of items.
        groups: Indices of the items of each group, if items of one group are alike: whole groups are drawn then.
        draws: Number of draws, with replacement.
        confidence: Confidence level.
    """
    random = np.random.default_rng(0)

    def drawn() -> npt.NDArray[np.intp]:
        if groups is None:
            return random.integers(0, n, n)
        return np.concatenate([groups[one] for one in random.integers(0, len(groups), len(groups))])

    values = [measure(drawn()) for _ in range(draws)]
    low, high = np.nanpercentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)


@lru_cache(maxsize=4096)
def studentized_range_quantile(level: float, groups: int, df: int) -> float:
    """Return a quantile of the studentized range: of the range of group means, in standard errors.

    Args:
        level: Probability of a smaller value, such as 0.95.
        groups: Number of means, at least 2.
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
    """Return the probabilities that the range of k = ``groups`` standard normal values is below each width.

    That is k ∫ φ(z) (Φ(z) - Φ(z - width))^(k-1) dz (Copenhaver and Holland, J. Statist. Comput. Simul. 1988).
    """
    nodes, weights = _gauss_legendre()
    z = _WIDEST * nodes
    density = _WIDEST * weights * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    inside = np.clip(ndtr(z) - ndtr(z - widths[:, None]), 0.0, 1.0) ** (groups - 1)
    found: npt.NDArray[np.float64] = groups * inside @ density
    return found
