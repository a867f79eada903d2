"""What repeats say: means with their intervals, and which configurations cannot be told from the best.

Only `scipy.special` is used: `scipy.stats` takes a second to import, which a command on a login node should not cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Summary:
    """Values of one configuration with several seeds.

    Attributes:
        mean: Their mean.
        sd: Standard deviation of one value (n - 1 in the denominator); None of a single one.
        n: How many there are.
        low: Lower end of the interval for the mean; None of a single value.
        high: Upper end.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None


def summarize(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Summary:
    """Return mean, standard deviation and Student's t interval for the mean: mean ± t(n - 1) sd / √n."""
    mean, n = fmean(values), len(values)
    if n == 1:
        return Summary(mean, None, 1, None, None)
    sd = stdev(values)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Summary(mean, sd, n, mean - half, mean + half)


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


def worse_p(values: Mapping[int, float], best: Mapping[int, float], *, maximize: bool) -> float | None:
    """Return the p value of a paired, one-sided t test that a configuration is no worse than another.

    Args:
        values: Seed to value.
        best: Of the configuration that it is compared with.
        maximize: Whether more is better.

    Returns:
        None if fewer than two seeds are common to both.
    """
    sign = 1.0 if maximize else -1.0
    gaps = [sign * (best[seed] - values[seed]) for seed in sorted(values.keys() & best.keys())]
    if len(gaps) < 2:
        return None
    mean, sd = fmean(gaps), stdev(gaps)
    if sd == 0:
        return 1.0 if mean <= 0 else 0.0
    return float(stdtr(len(gaps) - 1, -mean * math.sqrt(len(gaps)) / sd))


def holm(p_values: Sequence[float], *, level: float = 1 - CONFIDENCE) -> list[bool]:
    """Tell which hypotheses are rejected, all errors together at most ``level`` (Holm, Scand. J. Statist. 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = [False] * len(p_values)
    for place, index in enumerate(order):
        if p_values[index] > level / (len(p_values) - place):
            break
        rejected[index] = True
    return rejected


def tied_with_best(samples: Sequence[Mapping[int, float]], *, maximize: bool) -> list[bool | None]:
    """Tell which configurations cannot be told from the best one.

    The best is the one with the best mean among those with several seeds. The others are compared with it on their
    common seeds, and the tests are corrected by Holm's method.

    Args:
        samples: Seed to value, of each configuration.
        maximize: Whether more is better.

    Returns:
        True for the best and for those that are not significantly worse; None for those with fewer than two seeds in
        common with it, of which nothing can be said.
    """
    sign = 1.0 if maximize else -1.0
    several = [index for index, values in enumerate(samples) if len(values) > 1]
    if not several:
        return [None] * len(samples)
    best = max(several, key=lambda index: (sign * fmean(samples[index].values()), -index))
    found: list[bool | None] = [None] * len(samples)
    found[best] = True
    tested = {i: worse_p(samples[i], samples[best], maximize=maximize) for i in several if i != best}
    known = {index: p for index, p in tested.items() if p is not None}
    for index, worse in zip(known, holm(list(known.values())), strict=True):
        found[index] = not worse
    return found
