"""Compares two trials image by image: McNemar's test, and bootstrap intervals for differences of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.statistics import CONFIDENCE, bootstrap, mcnemar
from cnn_sweep.report.models.validated import groups_of, members, validated
from cnn_sweep.sweep.spec.metrics import is_objective
from cnn_sweep.training.evaluation.metrics import metric_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.report.models.validated import Validated

_FEW_GROUPS: Final = 10


@dataclass(frozen=True)
class Difference:
    """A metric of two trials on the same images.

    Attributes:
        metric: Its name without ``val_``.
        one: Its value for the first trial.
        other: Its value for the second trial.
        low: Lower end of the 95% interval for ``one - other``.
        high: Upper end of that interval.
    """

    metric: str
    one: float
    other: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """Two trials compared image by image.

    Attributes:
        one: The first trial's predictions of the common images.
        other: The second trial's.
        groups: Number of groups of images; None without groups.
        both: Number of images that both get right.
        only_one: Number of images that only the first gets right.
        only_other: Number of images that only the second gets right.
        p: p-value of McNemar's exact test.
        differences: Those of the objective, if predictions tell it, of the accuracy and of the log loss.
    """

    one: Validated
    other: Validated
    groups: int | None
    both: int
    only_one: int
    only_other: int
    p: float
    differences: tuple[Difference, ...]

    @property
    def table(self) -> Table:
        """A row for each metric; ``p`` is that of McNemar's test, which concerns the accuracy."""
        names = self.one.name, self.other.name
        rows = tuple(
            {"metric": one.metric, names[0]: one.one, names[1]: one.other, "difference": one.one - one.other}
            | {"low": one.low, "high": one.high, "p": self.p if one.metric == "accuracy" else None}
            for one in self.differences
        )
        return Table(("metric", *names, "difference", "low", "high", "p"), rows)

    def in_words(self) -> list[str]:
        """Return sentences: what was compared, how often each was right, and what follows."""
        one, other, images = self.one.name, self.other.name, len(self.one.labels)
        of_groups = "" if self.groups is None else f" of {self.groups} groups"
        wrong = images - self.both - self.only_one - self.only_other
        lines = [
            f"{one} and {other}: {images} validation images{of_groups}",
            f"right: both {self.both}, only {one}: {self.only_one}, only {other}: {self.only_other}, neither {wrong}",
            f"McNemar's exact test: p = {self.p:.3g}; {self._verdict()}",
        ]
        if self.groups is not None:
            lines.append("the test takes images for independent; go by the intervals, for which groups were drawn")
            if self.groups < _FEW_GROUPS:
                lines.append(f"with only {self.groups} groups, the intervals are too narrow")
        return lines

    def _verdict(self) -> str:
        if self.p >= 1 - CONFIDENCE:
            return "these images do not tell which one is right more often"
        more = self.one if self.only_one > self.only_other else self.other
        return f"right more often: {more.name}"


def compare_trials(
    results: Path, study: str, one: int | None, other: int | None, *, objective: str
) -> PairedComparison:
    """Compare two complete trials, or the configurations of two folds, on the images that both were validated with.

    Args:
        results: Root of all studies.
        study: The study's name.
        one: Number of a trial; None for the best.
        other: Number of another trial; None for the best.
        objective: The study's objective.

    Raises:
        StudyError: There is no such trial, or it is not complete.
        InputError: They are the same, or have no images in common.
    """
    first, second = validated(results, study, (one, other))
    if first.trials == second.trials:
        what = f"both are {first.name}" if len(first.trials) == 1 else f"both belong to the folds {first.name}"
        raise InputError(f"{what}; name two different trials")
    rows = np.intersect1d(first.rows, second.rows)
    if first.split != second.split or not len(rows):
        raise InputError(f"{first.name} and {second.name} were validated with different images")
    first, second = first.at(rows), second.at(rows)
    return paired_comparison(first, second, objective=objective, groups=groups_of(results, study, first))


def paired_comparison(
    one: Validated, other: Validated, *, objective: str, groups: Sequence[str] | None = None
) -> PairedComparison:
    """Compare predictions of the same images in the same order.

    Args:
        one: The first trial's predictions.
        other: The second trial's predictions.
        objective: The study's objective.
        groups: Group of each image; None if images are independent.
    """
    right, also_right = one.is_right, other.is_right
    only_one, only_other = int(np.sum(right & ~also_right)), int(np.sum(also_right & ~right))
    places = members(groups)
    names = dict.fromkeys(filter(None, (told_by_predictions(objective), "accuracy", "log_loss")))
    return PairedComparison(
        one=one,
        other=other,
        groups=None if places is None else len(places),
        both=int(np.sum(right & also_right)),
        only_one=only_one,
        only_other=only_other,
        p=mcnemar(only_one, only_other),
        differences=tuple(_difference(name, one, other, places) for name in names),
    )


def told_by_predictions(objective: str) -> str | None:
    """Return an objective's name without ``val_`` if predictions tell it, as they do not the penalties of a loss."""
    name = objective.removeprefix("val_")
    return name if objective.startswith("val_") and is_objective(objective) and name != "loss" else None


def _difference(name: str, one: Validated, other: Validated, groups: list[npt.NDArray[np.intp]] | None) -> Difference:
    def value(found: Validated, drawn: npt.NDArray[np.intp]) -> float:
        return metric_of(found.labels[drawn], found.probabilities[drawn], name, found.class_names)

    images = np.arange(len(one.labels))
    low, high = bootstrap(lambda drawn: value(one, drawn) - value(other, drawn), len(images), groups=groups)
    return Difference(name, value(one, images), value(other, images), low, high)
