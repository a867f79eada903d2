"""Configurations that were trained with several seeds: their means, and which cannot be told from the best.

The model is the two-way layout value = configuration + seed + rest. The variance of the rest is pooled over the
configurations, since two or three seeds tell too little of one alone. What is said holds for all configurations at
once, so also for the one that is picked because it looks best (multiple comparisons with the best: Hsu, *Multiple
Comparisons*, 1996, ch. 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import fdtrc, stdtrit

from cnn_sweep.report.leaderboards.statistics import CONFIDENCE, studentized_range_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from cnn_sweep.sweep.direction import Direction

    Array = npt.NDArray[np.float64]

_NOTHING: Final = 1e-9
_FINEST: Final = 1e-5  # steps below this part of the greatest value are no steps but rounding errors


@dataclass(frozen=True)
class Standing:
    """A configuration among the others; what cannot be said is None.

    Attributes:
        mean: Of its values.
        sd: Standard deviation of one value (n - 1 in the denominator), from its own values alone.
        n: How many values there are.
        low: Lower end of the interval for the mean; the intervals of all configurations hold together.
        high: Upper end.
        difference: Its mean minus that of the best, as far as they have seeds in common to compare by.
        difference_low: Lower end of the interval for the difference; all of them hold together.
        difference_high: Upper end.
        tied: Whether it cannot be told from the best: the interval for the difference reaches zero.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    tied: bool | None = None


def compare(samples: Sequence[Mapping[int, float]], direction: Direction) -> list[Standing]:
    """Compare configurations with the best one: the best mean among those with several seeds.

    Args:
        samples: Seed to value, of each configuration; not empty.
        direction: What is better.
    """
    found = [_alone(list(sample.values())) for sample in samples]
    several = [place for place, sample in enumerate(samples) if len(sample) > 1]
    if not several:
        return found
    best = min(several, key=lambda place: (direction.key(found[place].mean), place))
    seeds = sorted({seed for place in several for seed in samples[place]})
    values = np.array([[samples[place].get(seed, math.nan) for seed in seeds] for place in several])
    rounding = _rounding(value for sample in samples for value in sample.values())
    comparison = _Comparison(values, several.index(best), -direction.sign, rounding)
    for place, standing in zip(several, comparison.standings([found[place] for place in several]), strict=True):
        found[place] = standing
    return found


def _alone(values: Sequence[float]) -> Standing:
    mean, n = fmean(values), len(values)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Standing(mean, sd, n)


def _rounding(values: Iterable[float]) -> float:
    """Return the variance that values hide because they are multiples of a step, as an accuracy is of 1/images.

    It is step²/12 (Sheppard, Proc. London Math. Soc. 1898). Values that scatter by less than a step are often all the
    same, which does not mean that they do not scatter.
    """
    different = sorted({abs(value) for value in values} - {0.0})
    if len(different) < 2:
        return 0.0
    step, least = 0.0, _FINEST * different[-1]
    for value in different:  # the greatest common divisor
        rest = value
        while rest > least:
            step, rest = rest, abs(math.remainder(step, rest))
    return step * step / 12 if step > least else 0.0


@dataclass(frozen=True)
class _Layout:
    """The two-way layout fitted by least squares; seeds may be missing.

    Attributes:
        means: Of the configurations as if all had had the same seeds, shape (k,).
        shares: Share of each seed in each configuration's mean, shape (k, seeds).
        counts: Values of each configuration, shape (k,).
        covariance: Of the seeds' effects, in units of the variance; shape (seeds, seeds).
        apart: Combinations of seeds of which nothing is known, as no configuration links them; shape (seeds, m).
        rest: Sum of squares that neither configurations nor seeds explain.
        df: Its degrees of freedom.
        scatter: Variance of one value of a configuration, the seeds' part included.
        scatter_df: Its degrees of freedom, by Satterthwaite's approximation (Biometrics Bull. 1946).
    """

    means: Array
    shares: Array
    counts: Array
    covariance: Array
    apart: Array
    rest: float
    df: int
    scatter: float
    scatter_df: float

    @classmethod
    def fit(cls, values: Array) -> _Layout:
        """Fit the layout to values of shape (k, seeds), NaN where there is none."""
        known = ~np.isnan(values)
        counts = known.sum(axis=1)
        shares = known / counts[:, None]
        raw = np.nansum(values, axis=1) / counts
        within = np.where(known, values - raw[:, None], 0.0)
        matrix = np.diag(known.sum(axis=0).astype(float)) - known.T @ shares
        sizes, vectors = np.linalg.eigh(matrix)
        linked = sizes > _NOTHING
        covariance = (vectors[:, linked] / sizes[linked]) @ vectors[:, linked].T
        effects = covariance @ within.sum(axis=0)
        means = raw - shares @ effects
        rest = float((np.where(known, values - means[:, None] - effects, 0.0) ** 2).sum())
        rank = int(linked.sum())
        df = int(counts.sum()) - len(values) - rank
        scatter, scatter_df = _scatter(float((within**2).sum()) - rest, rank, float(np.trace(matrix)), rest, df)
        return cls(means, shares, counts, covariance, vectors[:, ~linked], rest, df, scatter, scatter_df)

    def error(self, best: int) -> Array:
        """Return the variances of all differences to one configuration, in units of the variance; NaN if unknown."""
        shift = self.shares - self.shares[best]
        found = 1 / self.counts + 1 / self.counts[best] + ((shift @ self.covariance) * shift).sum(axis=1)
        unknown = np.abs(shift @ self.apart).max(axis=1, initial=0.0) > _NOTHING
        return np.where(unknown, math.nan, found)


def _scatter(of_seeds: float, rank: int, trace: float, rest: float, df: int) -> tuple[float, float]:
    """Return the variance of one value from the sums of squares of seeds and of the rest, and its degrees of freedom.

    The expectation of the seeds' sum of squares is trace times the variance between seeds plus rank times that of the
    rest.
    """
    parts = [(max(of_seeds, 0.0) / trace, rank), (rest / df * (1 - rank / trace) if df else 0.0, df)]
    total = sum(part for part, _ in parts)
    spread = sum(part**2 / own for part, own in parts if part)
    return total, total**2 / spread if spread else float(rank + df)


@dataclass(frozen=True)
class _Comparison:
    """Compares configurations with the best one of them.

    Attributes:
        values: Shape (k, seeds), NaN where there is none; two or more in each row.
        best: Row of the best one.
        sign: 1 to maximize, -1 to minimize.
        rounding: Variance that the values hide.
    """

    values: Array
    best: int
    sign: float
    rounding: float

    def standings(self, found: list[Standing]) -> list[Standing]:
        """Complete what is known of each configuration.

        Configurations that turn out worse leave the pool if they scatter more than those that remain: a learning rate
        with which training diverges says nothing about how exactly the good ones are known.
        """
        pool = np.arange(len(self.values))
        while True:
            layout = _Layout.fit(self.values[pool])
            judged = self._judge(layout, [found[place] for place in pool], int(np.flatnonzero(pool == self.best)[0]))
            for place, standing in zip(pool, judged, strict=True):
                found[place] = standing
            remaining = np.array([place for place in pool if found[place].tied is not False])
            if len(remaining) in (1, len(pool)) or not self._scatters_less(remaining, layout):
                return found
            pool = remaining

    def _judge(self, layout: _Layout, found: list[Standing], best: int) -> list[Standing]:
        k = len(self.values)
        t = stdtrit(layout.scatter_df, 1 - (1 - CONFIDENCE) / (2 * k))  # Bonferroni's correction for k intervals
        halves = t * np.sqrt((layout.scatter + self.rounding) / layout.counts)
        gaps, widths = layout.means - layout.means[best], np.full(len(found), math.nan)
        if layout.df:
            variance = (layout.rest / layout.df + self.rounding) * layout.error(best) / 2
            widths = studentized_range_quantile(CONFIDENCE, k, layout.df) * np.sqrt(variance)
        parts = zip(found, halves.tolist(), gaps.tolist(), widths.tolist(), strict=True)
        judged = [self._standing(*part) for part in parts]
        judged[best] = replace(judged[best], difference=0.0, difference_low=None, difference_high=None, tied=True)
        return judged

    def _standing(self, one: Standing, half: float, gap: float, width: float) -> Standing:
        """Write down an interval for the mean, if values scatter at all, and one for the difference, if it is known."""
        low, high = (one.mean - half, one.mean + half) if half else (None, None)
        if math.isnan(width):
            return replace(one, low=low, high=high)
        is_tied = self.sign * gap + width >= -_NOTHING
        return Standing(one.mean, one.sd, one.n, low, high, gap, gap - width, gap + width, is_tied)

    def _scatters_less(self, remaining: npt.NDArray[np.intp], layout: _Layout) -> bool:
        """Return whether an F test finds less variance among the remaining configurations than among the others."""
        own = _Layout.fit(self.values[remaining])
        if not own.df or own.df == layout.df:
            return False
        others = max(layout.rest - own.rest, 0.0) / (layout.df - own.df) + self.rounding
        least = own.rest / own.df + self.rounding
        return bool(least > 0 and fdtrc(layout.df - own.df, own.df, others / least) < 1 - CONFIDENCE)
