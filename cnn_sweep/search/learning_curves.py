"""Predicts how good each trial will be at its end, from the learning curves and hyperparameters of a study.

Results at successive levels (numbers of epochs) are linked by linear regressions: from a trial's results at this level
and the one before, and its hyperparameters, to the result at the next. Chained, they give each trial a normal
distribution at the last level. Every trial that passed a level teaches its link, so a study learns about late epochs
from the few trials that got there and about early ones from all. The regressions are Bayesian: with few results they
say "about as good as now, and quite uncertain". Curves are predicted trial by trial, as in freeze-thaw Bayesian
optimisation (Swersky et al., arXiv 1406.3896), without its Gaussian process.

Results are compared by their normal scores among all results of the study, so neither the scale of the objective nor
a diverged trial matters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Found on the learning curves of LCBench and of 1,152 small networks: benchmarks/curves.py.
_WIDENED = 1.2  # factor of the standard deviation: curves are less regular than straight lines with normal errors
_OUTLIERS, _OUTLIERS_WIDENED = 0.05, 3.0  # see Prediction
_REACH = 5.0  # standard deviations above its mean that a result is taken to reach
_PRIOR_SD = 0.25  # change of a normal score from one level to the next that is one and a half times as far
_PRIOR_WEIGHT = 4.0  # the prior variance counts as much as this many results
_SHRINKAGE = (0.1, 1.0, 1.0, 5.0)  # of the constant, the two results, and the features of the hyperparameters
_POINTS = 40  # of the grid on which the chance of being the best is integrated
_MOST_CATEGORIES = 8  # of a hyperparameter that is not a number; rarer ones count as one


class Prediction(NamedTuple):
    """Distributions of results at the last level, in normal scores; higher is better.

    Each is a normal distribution, but in one case of twenty three times as wide: some curves rise late, unlike all that
    the study has seen.

    Attributes:
        mean: Shape (trials,).
        sd: Standard deviation of the narrow part; shape (trials,).
    """

    mean: Floats
    sd: Floats

    def chances(self) -> Floats:
        """Return each trial's probability of being the best of all; they sum to 1.

        A trial whose mean is too many standard deviations below what the best one surely reaches has none.
        """
        low, high = float((self.mean - 4 * self.sd).max()), float((self.mean + _REACH * self.sd).max())
        matters = self.mean + _REACH * self.sd > low
        grid = np.linspace(low, high, _POINTS)
        scores = (grid - self.mean[matters, None]) / self.sd[matters, None]
        below = (1 - _OUTLIERS) * ndtr(scores) + _OUTLIERS * ndtr(scores / _OUTLIERS_WIDENED)
        others = below.prod(axis=0) / below  # the grid begins where every factor is above zero
        mass = np.diff(below, axis=1) * (others[:, 1:] + others[:, :-1]) / 2
        chances = np.zeros(len(self.mean))
        chances[matters] = mass.sum(axis=1) + below[:, 0] * others[:, 0]
        total: Floats = chances / chances.sum()
        return total


@dataclass(frozen=True)
class CurveModel:
    """The chained regressions.

    Attributes:
        sorted_results: All results of the study, the worst first.
        links: For each level, the coefficients of the score at the last one: constant, score at this level, score at
            the level before, features; and the variance. The last row is that of the level before the first, for
            trials without a result. Shape (levels + 1, 4 + features).
    """

    sorted_results: Floats
    links: Floats

    @classmethod
    def fit(cls, levels: Sequence[int], results: Floats, features: Floats) -> CurveModel:
        """Learn from a study.

        Args:
            levels: Epochs of each level.
            results: Higher is better; NaN where a trial has none. Shape (trials, levels).
            features: Of the hyperparameters; shape (trials, features).
        """
        known = ~np.isnan(results)
        ordered = np.sort(results[known])
        scores = np.zeros(results.shape)
        scores[known] = _scores(results[known], ordered)
        weights, variances = _regressions(levels, scores, known, features)
        return cls(ordered, _chained(weights, variances))

    def predict(self, results: Floats, features: Floats) -> Prediction:
        """Predict results at the last level; for the arguments, see `fit`."""
        last = (~np.isnan(results)).sum(axis=1) - 1
        rows = np.arange(len(results))
        both = np.column_stack([results[rows, last], results[rows, last - 1]])
        both = np.where(np.column_stack([last < 0, last < 1]), 0.0, _scores(both, self.sorted_results))
        links = self.links[last]
        mean = links[:, 0] + (links[:, 1:3] * both).sum(axis=1) + (links[:, 3:-1] * features).sum(axis=1)
        return Prediction(mean, np.sqrt(links[:, -1]))


def _scores(results: Floats, ordered: Floats) -> Floats:
    """Return normal scores of results among ordered ones."""
    middle = (np.searchsorted(ordered, results, "left") + np.searchsorted(ordered, results, "right")) / 2
    scores: Floats = ndtri(np.clip(middle, 0.5, len(ordered) - 0.5) / len(ordered))
    return scores


def _regressions(
    levels: Sequence[int], scores: Floats, known: NDArray[np.bool_], features: Floats
) -> tuple[Floats, Floats]:
    """Fit the change from each level to the next, and to the first one from nothing.

    Returns:
        Weights of the constant, the two scores and the features, shape (levels, 3 + features); residual variances,
        shape (levels,).
    """
    count, width = len(levels), 3 + features.shape[1]
    columns = np.column_stack([np.ones(len(scores)), np.zeros((len(scores), 2)), features])
    normal, right, squares = np.zeros((count, width, width)), np.zeros((count, width)), np.zeros(count)
    for level in range(count):
        if level > 0:
            columns[:, 2], columns[:, 1] = columns[:, 1], scores[:, level - 1]
        used = known[:, level]
        inputs, changes = columns[used], scores[used, level] - columns[used, 1]
        normal[level], right[level], squares[level] = inputs.T @ inputs, inputs.T @ changes, changes @ changes
    penalty = np.diag(np.repeat(_SHRINKAGE, (1, 1, 1, features.shape[1])))
    weights = np.linalg.solve(normal + penalty, right[:, :, None])[:, :, 0]
    fitted = (normal @ weights[:, :, None])[:, :, 0]
    left = np.maximum(squares + (weights * (fitted - 2 * right)).sum(axis=1), 0.0)
    counts = known.sum(axis=0)
    steps = np.log(np.array(levels[1:]) / np.array(levels[:-1])) / np.log(1.5)
    prior = np.concatenate([[1.0], _PRIOR_SD**2 * steps])
    variances = (_PRIOR_WEIGHT * prior + left) / (_PRIOR_WEIGHT + np.maximum(counts - 1, 0))
    return weights, variances * (1 + 2 / (counts + _PRIOR_WEIGHT))


def _chained(weights: Floats, variances: Floats) -> Floats:
    """Chain the links from the last level down; see `CurveModel.links`."""
    levels, width = weights.shape
    links = np.zeros((levels + 1, width + 1))
    constant, here, before, features, variance = 0.0, 1.0, 0.0, np.zeros(width - 3), 1e-12
    for level in range(levels - 1, -2, -1):
        links[level] = np.concatenate([[constant, here, before], features, [variance * _WIDENED**2]])
        if level < 0:
            break
        constant += here * weights[level, 0]
        features = features + here * weights[level, 3:]
        variance += here**2 * variances[level]
        here, before = here * (1 + weights[level, 1]) + before, here * weights[level, 2]
    return links


def features_of(params: Sequence[Mapping[str, Any]]) -> Floats:
    """Encode hyperparameters: numbers with their squares, others as indicators; shape (trials, features).

    Numbers that spread over more than a factor of 20 are taken as logarithms. What does not vary has no features.
    """
    names = dict.fromkeys(name for one in params for name in one)
    columns: list[Floats] = []
    for name in names:
        values = [one.get(name) for one in params]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        given = sum(v is not None for v in values)
        columns += _of_numbers(values) if len(numbers) == given else _of_categories(values)
    return np.column_stack(columns) if columns else np.zeros((len(params), 0))


def _of_numbers(values: Sequence[Any]) -> list[Floats]:
    numbers = np.array([np.nan if v is None else v for v in values], dtype=float)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    if low > 0 and high / low > 20:
        numbers, low, high = np.log(numbers), np.log(low), np.log(high)
    if not high > low:
        return []
    scaled = (numbers - low) / (high - low) * 2 - 1
    return [np.nan_to_num(scaled), np.nan_to_num(scaled**2 - 1 / 3)]


def _of_categories(values: Sequence[Any]) -> list[Floats]:
    words = [repr(v) for v in values]
    common = [word for word, _ in sorted(Counter(words).items(), key=lambda one: (-one[1], one[0]))]
    return [np.array([1.0 if w == word else -1.0 for w in words]) for word in common[1:_MOST_CATEGORIES]]
