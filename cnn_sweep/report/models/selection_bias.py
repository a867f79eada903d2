"""Selection bias: by how much the validation value of the best of many overstates what it reaches on new images.

The choice is repeated without a fifth of the images and judged on that fifth, over five divisions into fifths; the bias
is the mean lead of the real choice over the repeated ones there. So choosing is part of what is cross-validated (Varma
and Simon, BMC Bioinformatics 2006). The bootstrap of Tsamardinos et al. (BBC-CV, Machine Learning 2018) chooses on 63%
of the images, by which good trials are harder to tell from bad ones: `benchmarks/selection_bias.py` compares both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import CnnSweepError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import span
from cnn_sweep.report.leaderboards.statistics import NORMAL_QUANTILE, wilson
from cnn_sweep.report.models.paired_tests import told_by_predictions
from cnn_sweep.report.models.validated import best_validated, groups_of, members, of_same_images, parts_of
from cnn_sweep.sweep.spec.metrics import is_share
from cnn_sweep.training.evaluation.metrics import metric_of, of_each_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.report.models.validated import Validated
    from cnn_sweep.sweep.direction import Direction

    Array = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

_DIVISIONS: Final = 5
_DRAWS: Final = 100  # of the bootstrap that tells the error of the corrected value
_FEWEST: Final = 10  # images, or groups, by which a choice can be judged
# A metric that is no mean over images, such as the AUC, is computed anew for each draw.
_CANDIDATES, _FEW_DRAWS = 10, 10


@dataclass(frozen=True)
class Corrected:
    """The value of the best of several candidates, and what is left of it without selection bias.

    Attributes:
        trials: The trials of the best: one, or several with repeats or folds, whose values are averaged.
        tried: Number of candidates.
        images: Number of validation images.
        best: Value of the best.
        value: The same without selection bias.
        low: Lower end of its 95% interval, for the images and the choice; not for the seeds.
        high: Upper end of that interval.
    """

    trials: tuple[int, ...]
    tried: int
    images: int
    best: float
    value: float
    low: float
    high: float

    @property
    def in_words(self) -> str:
        """The corrected value, its interval and what they are from."""
        interval = f"95% interval {span(self.low, self.high)}"
        return f"{self.value:.4g} without it ({interval}), estimated from {self.images:,} validation images"


def corrected_best(results: Path, study: str, *, at_once: bool = False) -> Corrected | None:
    """Correct the value of a study's best trial; with repeats or folds, that of the configuration with the best mean.

    Args:
        results: Root of all studies.
        study: The study's name.
        at_once: Do without the correction of metrics that are no means over images, such as the AUC: it takes seconds.

    Returns:
        None if there is nothing to choose from, the objective does not follow from predictions, no predictions were
        kept, or there are fewer than ten images or groups.
    """
    folder = StudyFolder.open(results, study)
    objective = folder.sweep.objective
    metric = told_by_predictions(objective.metric)
    if metric is None or not folder.paths.predictions_folder.exists():
        return None
    history = folder.history()
    try:
        found = of_same_images(best_validated(results, study, history))
        groups = groups_of(results, study, found[0])
    except CnnSweepError:  # no predictions, or damaged images: other answers do not depend on the correction
        return None
    if at_once and of_each_image(found[0].labels, found[0].probabilities, metric) is None:
        return None
    candidates: dict[str | int, list[Validated]] = {}
    for one in found:
        candidates.setdefault(history.trials[one.trials[0]].configuration or one.trials[0], []).append(one)
    several = [pools for pools in candidates.values() if len(pools) > 1]
    compared = sorted(several or candidates.values(), key=lambda pools: pools[0].trials)  # equal ones: the first wins
    return corrected(compared, metric, objective.direction, groups=groups)


def corrected(
    candidates: Sequence[Sequence[Validated]],
    metric: str,
    direction: Direction,
    *,
    groups: Sequence[str] | None = None,
) -> Corrected | None:
    """Correct the value of the best candidate.

    Args:
        candidates: Predictions of each candidate for the same images in the same order; the values of several
            predictions are averaged. Of equal candidates, the first is the best.
        metric: Name of the metric without ``val_``.
        direction: Its direction.
        groups: Group of each image; None if images are independent. Groups stay whole in all draws.

    Returns:
        None if there are fewer than two candidates, or fewer than ten images or groups.
    """
    places = members(groups) or [*np.arange(len(candidates[0][0].labels))[:, None]]
    if len(candidates) < 2 or len(places) < _FEWEST:
        return None
    scores = _Scores.of(candidates, metric, direction)
    images = len(scores.labels)
    once = np.ones((1, images))
    best = scores.best(once)
    value = scores.without_bias(once, [parts_of(images, groups, seed=seed) for seed in range(_DIVISIONS)])
    random, of_image = np.random.default_rng(0), np.empty(images, np.intp)
    for place, one in enumerate(places):
        of_image[one] = place
    draws = _DRAWS if scores.each is not None else _FEW_DRAWS
    drawn = random.multinomial(len(places), np.full(len(places), 1 / len(places)), draws)[:, of_image]
    error = np.nanstd(scores.without_bias(drawn.astype(np.float64), [parts_of(images, groups)]), ddof=1)
    low, high = _interval(float(value[0]), float(error), images, is_bounded=is_share(f"val_{metric}"))
    return Corrected(
        trials=tuple(trial for pool in scores.candidates[int(best[0])] for trial in pool.trials),
        tried=len(candidates),
        images=images,
        best=float(scores.at(once, best)[0]),
        value=float(value[0]),
        low=low,
        high=high,
    )


@dataclass(frozen=True)
class _Scores:
    """Values of candidates for weighted images: weights of shape (draws, n), of whole images.

    Attributes:
        candidates: Predictions of each candidate.
        metric: Name of the metric without ``val_``.
        direction: Its direction.
        labels: Indices of the true classes, shape (n,).
        each: The metric of each image by candidate, shape (n, candidates); None if it is no mean over images.
    """

    candidates: Sequence[Sequence[Validated]]
    metric: str
    direction: Direction
    labels: Indices
    each: Array | None = None

    @classmethod
    def of(cls, candidates: Sequence[Sequence[Validated]], metric: str, direction: Direction) -> _Scores:
        """Take all candidates, or the best ones if each value takes long to compute."""
        labels = candidates[0][0].labels
        each: Any = [[of_each_image(labels, pool.probabilities, metric) for pool in pools] for pools in candidates]
        if each[0][0] is not None:
            columns = [np.mean(own, axis=0) for own in each]
            return cls(candidates, metric, direction, labels, np.stack(columns, axis=1))
        every = cls(candidates, metric, direction, labels)
        order = np.argsort(every._keys(np.ones((1, len(labels))))[0], kind="stable")[:_CANDIDATES]
        return cls([candidates[place] for place in np.sort(order)], metric, direction, labels)

    def without_bias(self, weights: Array, divisions: Sequence[Indices]) -> Array:
        """Return the value of the best, less its mean lead over what the other parts choose, shape (draws,)."""
        best, leads = self.best(weights), []
        for parts in divisions:
            for part in np.unique(parts):
                held = weights * (parts == part)
                chosen = self.best(weights - held)
                leads.append(self.at(held, best) - self.at(held, chosen))
        found: Array = self.at(weights, best) - np.nanmean(leads, axis=0)
        return found

    def best(self, weights: Array) -> Indices:
        """Return the best candidate by each row of weights, shape (draws,)."""
        found: Indices = self._keys(weights).argmin(axis=1)
        return found

    def at(self, weights: Array, candidates: Indices) -> Array:
        """Return the values of one candidate a row, shape (draws,); NaN without any image."""
        if self.each is None:
            return np.array([self._value(*pair) for pair in zip(weights, candidates, strict=True)])
        totals = np.einsum("dn,nd->d", weights, self.each[:, candidates])
        with np.errstate(invalid="ignore"):
            found: Array = totals / weights.sum(axis=1)
        return found

    def _keys(self, weights: Array) -> Array:
        """Return what sorts the best first, shape (draws, candidates)."""
        if self.each is not None:
            values = weights @ self.each / np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
        else:
            columns = range(len(self.candidates))
            values = np.array([[self._value(row, column) for column in columns] for row in weights])
        return np.where(np.isnan(values), np.inf, self.direction.key(values))

    def _value(self, weights: Array, candidate: int) -> float:
        rows = np.repeat(np.arange(len(weights)), weights.astype(np.intp))
        if not len(rows):
            return float("nan")
        pools = self.candidates[candidate]
        return float(
            np.mean(
                [
                    metric_of(self.labels[rows], pool.probabilities[rows], self.metric, pool.class_names)
                    for pool in pools
                ]
            )
        )


def _interval(value: float, error: float, images: int, *, is_bounded: bool) -> tuple[float, float]:
    """Return the 95% interval; for a share Wilson's, with as many images as would give it this standard error.

    The number is Korn and Graubard's effective sample size (Survey Methodology 1998), at most that of the images.
    """
    if not is_bounded:
        return value - NORMAL_QUANTILE * error, value + NORMAL_QUANTILE * error
    share = min(max(value, 0.0), 1.0)
    effective = min(share * (1 - share) / error**2, images) if error and 0 < share < 1 else images
    return wilson(share * effective, effective)
