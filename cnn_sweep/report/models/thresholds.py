"""The score of a class from which its precision, or its recall, reaches a wanted value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.statistics import bootstrap, wilson
from cnn_sweep.report.models.predictions import class_index
from cnn_sweep.report.models.validated import members

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cnn_sweep.report.models.validated import Validated

    Scores = npt.NDArray[np.floating]
    Flags = npt.NDArray[np.bool_]
    Interval = tuple[float, float]

Measure = Literal["precision", "recall"]


@dataclass(frozen=True)
class Threshold:
    """A score from which images are taken for those of a class.

    Attributes:
        score: The score.
        precision: Share of the images with at least this score that are of the class.
        recall: Share of the class's images that have at least this score.
        intervals: 95% intervals of the three.
        taken: Number of images with at least this score.
        below: Number of images with a lower score.
        missed: Number of images of the class with a lower score.
    """

    score: float
    precision: float
    recall: float
    intervals: tuple[Interval, Interval, Interval]
    taken: int
    below: int
    missed: int

    @property
    def table(self) -> Table:
        """A row for the score, the precision and the recall, each with its interval."""
        named = zip(
            ("score", "precision", "recall"), (self.score, self.precision, self.recall), self.intervals, strict=True
        )
        rows = tuple({"measure": name, "value": value, "low": low, "high": high} for name, value, (low, high) in named)
        return Table(("measure", "value", "low", "high"), rows)


def threshold_of(
    found: Validated, name: str, measure: Measure, wanted: float, *, groups: Sequence[str] | None = None
) -> Threshold:
    """Return the lowest score from which a class's precision is reached, or the highest with which its recall is.

    Intervals are Wilson's for precision and recall at this score, and by the bootstrap for the score; with groups, all
    are by the bootstrap over groups.

    Args:
        found: The predictions.
        name: Name of the class.
        measure: What is wanted.
        wanted: The value to reach, above 0 and at most 1.
        groups: Group of each image; None if images are independent.

    Raises:
        InputError: There is no such class, it has no images, or no score reaches the precision.
    """
    place = class_index(found.class_names, name)
    scores, own = found.probabilities[:, place], found.labels == place
    if not own.any():
        raise InputError(f"none of the {len(own)} images is of class {name!r}, so nothing can be said about it")
    score = lowest_score(scores, own, measure, wanted)
    if score is None:
        raise InputError(f"no score of {name!r} reaches {measure} {wanted:g}; {_nearest(scores, own)}")
    taken = scores >= score
    places = members(groups)

    def of_score(drawn: npt.NDArray[np.intp]) -> float:
        found = lowest_score(scores[drawn], own[drawn], measure, wanted)
        return np.nan if found is None else found

    hits = int(np.sum(taken & own))
    return Threshold(
        score=score,
        precision=hits / int(taken.sum()),
        recall=hits / int(own.sum()),
        intervals=(
            bootstrap(of_score, len(own), groups=places),
            _interval(own, taken, places),
            _interval(taken, own, places),
        ),
        taken=int(taken.sum()),
        below=int(np.sum(~taken)),
        missed=int(np.sum(own & ~taken)),
    )


def lowest_score(scores: Scores, own: Flags, measure: Measure, wanted: float) -> float | None:
    """Return the lowest score from which the precision reaches a value, or the highest from which the recall does.

    Args:
        scores: Score of each image, shape (n,).
        own: Whether each image is of the class, shape (n,).
        measure: What is wanted.
        wanted: The value to reach.

    Returns:
        One of the scores; None if none reaches the value, or there are no images of the class.
    """
    ends, hits, taken = _cuts(scores, own)
    shares = hits / taken if measure == "precision" else hits / max(1, int(own.sum()))
    reached = np.flatnonzero(shares >= wanted - 1e-12)
    if not len(reached):
        return None
    return float(ends[reached[-1] if measure == "precision" else reached[0]])


def _cuts(scores: Scores, own: Flags) -> tuple[Scores, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the different scores, highest first, and how many images of the class, and of all, have at least each."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return scores[order][last], np.cumsum(own[order], dtype=np.intp)[last], (last + 1).astype(np.intp)


def _nearest(scores: Scores, own: Flags) -> str:
    ends, hits, taken = _cuts(scores, own)
    best = int(np.argmax(hits / taken))
    highest = f"{hits[best] / taken[best]:.4g}"
    return f"the highest precision is {highest}, from score {ends[best]:.4g} on ({taken[best]} images)"


def _interval(of: Flags, among: Flags, groups: list[npt.NDArray[np.intp]] | None) -> Interval:
    """Return the interval for the share of flagged images among others."""
    if groups is None:
        return wilson(int(np.sum(of & among)), int(among.sum()))

    def share(drawn: npt.NDArray[np.intp]) -> float:
        count = int(among[drawn].sum())
        return float(np.sum(of[drawn] & among[drawn])) / count if count else np.nan

    return bootstrap(share, len(of), groups=groups)
