"""Ensembles: trials whose averaged probabilities are better than those of the best trial.

Members are chosen greedily, with replacement, as by Caruana et al., "Ensemble Selection from Libraries of Models", ICML
2004. A score on the images that chose the members is optimistic, so it is also cross-fitted: each fifth of the images
is judged by members that the other fifths chose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.models.paired_tests import told_by_predictions
from cnn_sweep.report.models.validated import best_validated, groups_of, of_same_images, parts_of
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.training.evaluation.metrics import log_loss, metric_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.report.models.validated import Validated
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

    Indices = npt.NDArray[np.intp]
    Key = tuple[float, float]  # sorts the best first

_CANDIDATES: Final = 50  # best trials among which members are chosen


@dataclass(frozen=True)
class Goal:
    """What an ensemble is chosen for.

    Attributes:
        metric: Its name without ``val_``.
        direction: Whether large or small values are good.
    """

    metric: str
    direction: Direction

    def value(self, found: Validated, probabilities: npt.NDArray[np.floating], rows: Indices) -> float:
        """Return the metric of probabilities for some images, of which ``found`` has the labels."""
        return metric_of(found.labels[rows], probabilities[rows], self.metric, found.class_names)

    def key(self, found: Validated, probabilities: npt.NDArray[np.floating], rows: Indices) -> Key:
        """Return what sorts the best first: by the metric, and among equals by the log loss."""
        value = self.direction.key(self.value(found, probabilities, rows))
        return (value if np.isfinite(value) else np.inf), log_loss(found.labels[rows], probabilities[rows])


def goal_of(objective: ObjectiveSpec) -> Goal:
    """Return what an ensemble is chosen for: the objective, or the log loss if predictions do not tell it."""
    name = told_by_predictions(objective.metric)
    return Goal("log_loss", Direction.MINIMIZE) if name is None else Goal(name, objective.direction)


@dataclass(frozen=True)
class Ensemble:
    """Trials whose probabilities are averaged.

    Attributes:
        members: The chosen trials, each as often as it was chosen, in the order of choice.
        alone: Value of each different member by itself, in the order of their first choice.
        value: Value of the average, on the images that chose the members.
        cross_fitted: Its value if other images choose the members.
        best: Value of the best trial alone, on the images that chose it.
        best_cross_fitted: Its value if other images choose it.
        left_out: Number of trials that were validated with other images.
    """

    members: tuple[Validated, ...]
    alone: tuple[float, ...]
    value: float
    cross_fitted: float
    best: float
    best_cross_fitted: float
    left_out: int

    @property
    def table(self) -> Table:
        """A row for each different member: its trials, its weight, and its value alone."""
        counts = Counter(one.name for one in self.members)
        rows = tuple(
            {"member": name, "weight": count / len(self.members), "value": value}
            for (name, count), value in zip(counts.items(), self.alone, strict=True)
        )
        return Table(("member", "weight", "value"), rows)


def chosen_ensemble(results: Path, study: str, objective: ObjectiveSpec, size: int) -> Ensemble:
    """Choose an ensemble from the kept predictions of a study's best trials; for the number of members, see the class.

    Raises:
        StudyError: No trial is complete, or none kept its predictions.
    """
    found = best_validated(results, study)
    return ensemble_of(found, goal_of(objective), size=size, groups=groups_of(results, study, found[0]))


def ensemble_of(found: Sequence[Validated], goal: Goal, *, size: int, groups: Sequence[str] | None = None) -> Ensemble:
    """Choose an ensemble.

    Args:
        found: Predictions of all candidates, at least one; those of other images than the first one's are left out.
        goal: What it is chosen for.
        size: Number of members, counting those that are chosen twice.
        groups: Group of each image of the first candidate; None if images are independent.
    """
    same = of_same_images(found)
    everything = np.arange(len(same[0].rows))
    chosen = _choose(same, goal, everything, size)
    alone = dict.fromkeys(chosen)
    if groups is not None:
        groups = [groups[place] for place in np.argsort(found[0].rows)]
    parts = parts_of(len(everything), groups)
    return Ensemble(
        members=tuple(same[place] for place in chosen),
        alone=tuple(goal.value(same[place], same[place].probabilities, everything) for place in alone),
        value=goal.value(same[0], _mean(same, chosen), everything),
        cross_fitted=_cross_fitted(same, goal, parts, size),
        best=goal.value(same[0], same[chosen[0]].probabilities, everything),
        best_cross_fitted=_cross_fitted(same, goal, parts, 1),
        left_out=len(found) - len(same),
    )


def _choose(found: Sequence[Validated], goal: Goal, rows: Indices, size: int) -> list[int]:
    """Return the places of the members; the first is the best by itself."""
    ranks = [goal.key(one, one.probabilities, rows) for one in found]
    candidates = sorted(range(len(found)), key=lambda place: (ranks[place], place))[:_CANDIDATES]
    chosen = candidates[:1]
    total = found[chosen[0]].probabilities.astype(np.float64)
    while len(chosen) < size:
        keys = {
            place: goal.key(found[place], (total + found[place].probabilities) / (len(chosen) + 1), rows)
            for place in candidates
        }
        chosen.append(min(candidates, key=lambda place: (keys[place], place)))
        total += found[chosen[-1]].probabilities
    return chosen


def _mean(found: Sequence[Validated], chosen: Sequence[int]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = np.mean([found[place].probabilities for place in chosen], axis=0, dtype=np.float64)
    return mean


def _cross_fitted(found: Sequence[Validated], goal: Goal, parts: Indices, size: int) -> float:
    """Return the value of predictions that members give which other images chose."""
    judged = np.empty(found[0].probabilities.shape)
    for part in np.unique(parts):
        held, rest = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        chosen = _choose(found, goal, rest if len(rest) else held, size)
        judged[held] = _mean(found, chosen)[held]
    return goal.value(found[0], judged, np.arange(len(judged)))
