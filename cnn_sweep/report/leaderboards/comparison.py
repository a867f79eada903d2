"""Comparison of configurations trained with several seeds: means, intervals, and ties with the best.

The model is the two-way layout value = configuration + seed + residual. The residual variance is pooled over the
configurations, since two or three seeds determine it poorly for one alone. All intervals hold simultaneously, so also
for the configuration chosen because it looks best (multiple comparisons with the best: Hsu, *Multiple Comparisons*,
1996, ch. 4).

With cross-validation, folds take the place of seeds. Their training sets overlap, so their values are not independent,
and the variance of a mean of n values is not 1/n of that of one, but 1/n + validation images / training images
(Nadeau and Bengio, Machine Learning 2003, section 3; for repeated cross-validation Bouckaert and Frank, PAKDD 2004).
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
_FINEST: Final = 1e-5  # steps below this fraction of the largest value are rounding errors


@dataclass(frozen=True)
class Standing:
    """The statistics of a configuration; None if one cannot be computed.

    Attributes:
        mean: Mean of its values.
        sd: Sample standard deviation of its own values.
        n: Number of values.
        low: Lower end of the interval for the mean; the intervals of all configurations hold simultaneously.
        high: Upper end of that interval.
        difference: Its mean minus that of the best, if common seeds link the two.
        difference_low: Lower end of the interval for the difference; these hold simultaneously, too.
        difference_high: Upper end of that interval.
        difference_error: Standard error of the difference; None for the best, too.
        tied: Whether it is not significantly worse than the best: the interval for the difference reaches zero.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    difference_error: float | None = None
    tied: bool | None = None


@dataclass(frozen=True)
class Look:
    """A look at the values of a sequential test, which adds a seed to its contenders until the best is told apart.

    Looks at growing data would err more often than one does, so look j has the level 3.75% / (j + 2). The levels add up
    to more than 5%, but looks share most of their data, so all looks together err in at most 5%: in simulations of 2 to
    20 equal configurations, in 4% within 8 looks and in 4.8% within 50. Only contenders are compared, and those that
    are left again among themselves until the look calls none worse (a step-down test: fewer need a lower threshold).

    Attributes:
        number: Number of the look, from 1.
        contenders: Places of the samples that no earlier look called worse.
        worse: Places of those that one, or a step of this look, did. They stay worse, and help to estimate the residual
            variance. Samples in neither are not part of the test.
    """

    number: int
    contenders: frozenset[int]
    worse: frozenset[int] = frozenset()

    @property
    def confidence(self) -> float:
        """Confidence with which all intervals of this look hold together."""
        return 1 - 0.75 * (1 - CONFIDENCE) / (self.number + 2)


def compare(
    samples: Sequence[Mapping[int, float]], direction: Direction, *, look: Look | None = None, overlap: float = 0.0
) -> list[Standing]:
    """Compare configurations with the one that has the best mean among those with several seeds.

    Args:
        samples: Value by seed, or by fold, of each configuration; not empty.
        direction: Direction of the objective.
        look: The look of a sequential test; None if all values were planned beforehand.
        overlap: With cross-validation, the number of validation images divided by that of training images.
    """
    found = [alone(list(sample.values())) for sample in samples]
    tested = range(len(samples)) if look is None else look.contenders | look.worse
    several = [place for place, sample in enumerate(samples) if len(sample) > 1 and place in tested]
    rivals = [place for place in several if look is None or place in look.contenders]
    if not rivals:
        return found
    best = min(rivals, key=lambda place: (direction.key(found[place].mean), place))
    seeds = sorted({seed for place in several for seed in samples[place]})
    values = np.array([[samples[place].get(seed, math.nan) for seed in seeds] for place in several])
    rounding = _rounding(value for sample in samples for value in sample.values())
    comparison = _Comparison(
        values,
        several.index(best),
        -direction.sign,
        rounding,
        overlap,
        np.isin(several, rivals),
        CONFIDENCE if look is None else look.confidence,
    )
    for place, standing in zip(several, comparison.standings([found[place] for place in several]), strict=True):
        found[place] = standing
    worse = frozenset(place for place in rivals if found[place].tied is False)
    if look is None or not worse:
        return found
    fewer = Look(look.number, look.contenders - worse, look.worse | worse)
    return compare(samples, direction, look=fewer, overlap=overlap)


def overlap_of_folds(folds: int) -> float:
    """Return the number of validation images divided by that of training images; 0 without cross-validation."""
    return 1 / (folds - 1) if folds > 1 else 0.0


def _known_to_be_worse(one: Standing) -> Standing:
    """Leave out the intervals: they hold for the contenders alone."""
    return Standing(one.mean, one.sd, one.n, difference=one.difference, tied=False)


def alone(values: Sequence[float]) -> Standing:
    """Return the statistics of a configuration that is compared with no other."""
    mean, n = fmean(values), len(values)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Standing(mean, sd, n)


def _rounding(values: Iterable[float]) -> float:
    """Return the variance that rounding hides if values are multiples of a step, as accuracies are of 1/images.

    It is step²/12 (Sheppard, Proc. London Math. Soc. 1898). Without it, equal rounded values would seem to have no
    variance at all.
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
        means: Means of the configurations, adjusted to the same seeds; shape (k,).
        shares: Share of each seed in each configuration's mean, shape (k, seeds).
        counts: Number of values of each configuration, shape (k,).
        covariance: Covariance of the seed effects in units of the residual variance, shape (seeds, seeds).
        apart: Basis of seed contrasts that cannot be estimated, as no configuration links the seeds; shape (seeds, m).
        rest: Residual sum of squares.
        df: Its degrees of freedom.
        scatter: Variance of one value of a configuration, including the seeds' part.
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
        """Fit the layout to values of shape (k, seeds); NaN where a value is missing."""
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
        """Return the variances of all differences to one configuration, in units of the residual variance."""
        shift = self.shares - self.shares[best]
        found = 1 / self.counts + 1 / self.counts[best] + ((shift @ self.covariance) * shift).sum(axis=1)
        unknown = np.abs(shift @ self.apart).max(axis=1, initial=0.0) > _NOTHING
        return np.where(unknown, math.nan, found)


def _scatter(of_seeds: float, rank: int, trace: float, rest: float, df: int) -> tuple[float, float]:
    """Return the variance of one value and its degrees of freedom, from the sums of squares of seeds and residuals.

    The expected sum of squares of the seeds is trace times their variance plus rank times the residual variance.
    """
    parts = [(max(of_seeds, 0.0) / trace, rank), (rest / df * (1 - rank / trace) if df else 0.0, df)]
    total = sum(part for part, _ in parts)
    spread = sum(part**2 / own for part, own in parts if part)
    return total, total**2 / spread if spread else float(rank + df)


@dataclass(frozen=True)
class _Comparison:
    """Compares configurations with the best of them.

    Attributes:
        values: Shape (k, seeds), NaN where missing; at least two in each row.
        best: Row of the best configuration.
        sign: 1 to maximize, -1 to minimize.
        rounding: Variance hidden by rounding.
        overlap: What the overlap of training sets adds to 1/n in the variance of a mean.
        rivals: Which rows are compared, shape (k,); the others are known to be worse.
        confidence: Confidence with which all intervals hold together.
    """

    values: Array
    best: int
    sign: float
    rounding: float
    overlap: float
    rivals: npt.NDArray[np.bool_]
    confidence: float

    def standings(self, found: list[Standing]) -> list[Standing]:
        """Complete the statistics of each configuration.

        Worse configurations leave the pool if their variance is larger than that of the others: a learning rate with
        which training diverges must not widen the intervals of the good ones.
        """
        pool = np.arange(len(self.values))
        while True:
            layout = _Layout.fit(self.values[pool])
            judged = self._judge(layout, [found[place] for place in pool], int(np.flatnonzero(pool == self.best)[0]))
            for place, one in zip(pool, judged, strict=True):
                found[place] = one if self.rivals[place] else _known_to_be_worse(one)
            remaining = np.array([place for place in pool if found[place].tied is not False])
            if len(remaining) in (1, len(pool)) or not self._scatters_less(remaining, layout):
                return found
            pool = remaining

    def _judge(self, layout: _Layout, found: list[Standing], best: int) -> list[Standing]:
        k = int(self.rivals.sum())
        t = stdtrit(layout.scatter_df, 1 - (1 - self.confidence) / (2 * k))  # Bonferroni's correction for k intervals
        halves = t * np.sqrt((layout.scatter + self.rounding) * (1 / layout.counts + self.overlap))
        gaps, errors = layout.means - layout.means[best], np.full(len(found), math.nan)
        quantile = math.nan
        if layout.df:
            variance = (layout.rest / layout.df + self.rounding) * (layout.error(best) / 2 + self.overlap)
            errors = np.sqrt(2 * variance)
            quantile = studentized_range_quantile(self.confidence, max(k, 2), layout.df) / math.sqrt(2)
        parts = zip(found, halves.tolist(), gaps.tolist(), errors.tolist(), strict=True)
        judged = [self._standing(*part, quantile) for part in parts]
        one = judged[best]
        judged[best] = Standing(one.mean, one.sd, one.n, one.low, one.high, difference=0.0, tied=True)
        return judged

    def _standing(self, one: Standing, half: float, gap: float, error: float, quantile: float) -> Standing:
        """Add the interval for the mean, if values vary, and that for the difference, if it can be estimated."""
        low, high = (one.mean - half, one.mean + half) if half else (None, None)
        if math.isnan(error):
            return replace(one, low=low, high=high)
        width = quantile * error
        is_tied = self.sign * gap + width >= -_NOTHING
        return Standing(one.mean, one.sd, one.n, low, high, gap, gap - width, gap + width, error, is_tied)

    def _scatters_less(self, remaining: npt.NDArray[np.intp], layout: _Layout) -> bool:
        """Return whether an F test finds a smaller variance in the remaining configurations than in the others."""
        own = _Layout.fit(self.values[remaining])
        if not own.df or own.df == layout.df:
            return False
        others = max(layout.rest - own.rest, 0.0) / (layout.df - own.df) + self.rounding
        least = own.rest / own.df + self.rounding
        return bool(least > 0 and fdtrc(layout.df - own.df, own.df, others / least) < 1 - CONFIDENCE)
