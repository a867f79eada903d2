"""The rounds of ``repeat --until-decided``: which configurations are left, and which repeats the next round adds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final

from scipy.special import ndtr

from cnn_sweep.errors import StudyError
from cnn_sweep.report.leaderboards.comparison import Look, overlap_of_folds
from cnn_sweep.report.leaderboards.configurations import DIFF_ERROR
from cnn_sweep.report.leaderboards.statistics import studentized_range_quantile
from cnn_sweep.store.column_names import VIOLATION
from cnn_sweep.sweep.repeats import MoreRepeats, newest_test, selection_repeats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.repeats import Revision, SequentialTest

_LEAST: Final = 2  # new values of a configuration that can be compared
_FUTILE: Final = 0.15  # a test ends if it can expect to tell a smaller share of its contenders from the best
_DOUBLINGS: Final = 8  # of the repeats, to find with how many a test could go on


@dataclass(frozen=True)
class Verdict:
    """What the repeats so far say.

    Attributes:
        round: Number of the round that was judged; 0 before the first.
        left: Rows of the configurations that cannot be told from the best, the best first.
        worse: Rows of those that this round called worse.
        failed: Rows of those that leave the test because fewer than two of their new trials have a value.
        next: The repeats of the next round; None once the best is told from the rest.
        is_futile: Whether more rounds would probably tell hardly any of those that are left from the best.
        enough: With futility, largest number of repeats with which the test could go on; None if there is none.
    """

    round: int
    left: tuple[Row, ...]
    worse: tuple[Row, ...] = ()
    failed: tuple[Row, ...] = ()
    next: MoreRepeats | None = None
    is_futile: bool = False
    enough: int | None = None


@dataclass(frozen=True)
class Limits:
    """How far a test may go.

    Attributes:
        top: The largest number of configurations in it.
        at_most: The largest number of repeats of a configuration.
    """

    top: int
    at_most: int


def judge(
    board: Table, trials: Table, revisions: Sequence[Revision], *, direction: Direction, limits: Limits
) -> Verdict:
    """Judge the newest round of a study whose trials have all ended, or choose whom the first round compares.

    The first round compares the configurations that the leaderboard calls tied, and those with one seed that look at
    least as good, such as ones that an extension added; without repeats, the best ones. It adds two seeds, since a
    comparison needs two values by which nothing was chosen; each later round adds one. With cross-validation, each
    round adds all folds once.

    Args:
        board: The leaderboard with a row per configuration.
        trials: The leaderboard with a row per trial.
        revisions: Revisions of the sweep, the oldest first.
        direction: Direction of the objective.
        limits: How far the test may go.

    Raises:
        StudyError: There are no two configurations to compare.
    """
    ranked = [row for row in board.rows if row["rank"] is not None]
    last, folds = revisions[-1].more_repeats, revisions[-1].fold_count
    configurations = {row["trial"]: row["configuration"] for row in trials.rows}
    test = newest_test(revisions, configurations)
    if test is not None and last is not None and last.round is not None:
        verdict = _of_round(ranked, trials, selection_repeats(revisions, configurations), test)
        if len(verdict.left) == 1:
            return verdict
        following = MoreRepeats(_trials(verdict.left), last.repeats + 1, test.round + 1, limits.at_most)
        outlook = _Outlook(verdict.left, test, direction, last.repeats, folds)
        return outlook.judged(replace(verdict, next=following), limits.at_most)
    ranked = [row for row in ranked if not row.get(VIOLATION)] or ranked
    tied = [row for row in ranked if row["tied"] is True]
    others = [
        row for row in ranked if row["tied"] is None and not (tied and direction.better(tied[0]["mean"], row["mean"]))
    ]
    left = (*tied, *others)[: limits.top]
    if len(left) == len(tied) == 1 and not others:
        return Verdict(0, left)
    if len(left) < 2:
        raise StudyError(f"{_complete(len(ranked))}; a comparison needs two (--top 2 or more)")
    own = {row["configuration"] for row in left}
    trainings = max(row["repeat"] for row in trials.rows if row["configuration"] in own) + 1
    before, more = -(-trainings // folds), _LEAST if folds == 1 else 1  # all folds of one repeat are enough
    return Verdict(0, left, next=MoreRepeats(_trials(left), before + more, 1, limits.at_most))


def _trials(rows: Iterable[Row]) -> tuple[int, ...]:
    return tuple(row["trial"] for row in rows)


def _of_round(
    ranked: list[Row], trials: Table, selections: Mapping[str, tuple[int, ...]], test: SequentialTest
) -> Verdict:
    """Return whom the newest round of a test leaves; ``selections`` has the repeats by which they were chosen."""
    began = {name: chose[-1] for name, chose in selections.items()}
    new: Counter[str] = Counter()
    for row in trials.rows:
        is_new = row["configuration"] in began and row["repeat"] >= began[row["configuration"]]
        new[row["configuration"]] += is_new and row["rank"] is not None and math.isfinite(row["value"])
    own = [row for row in ranked if row["configuration"] in test.contenders]
    failed = tuple(row for row in own if new[row["configuration"]] < _LEAST)
    compared = [row for row in own if row not in failed]
    if not compared:
        raise StudyError("none of the configurations has two complete new trials, so they cannot be compared")
    left = tuple(row for row in compared if row["tied"] is not False and not row.get(VIOLATION)) or (compared[0],)
    return Verdict(test.round, left, tuple(row for row in compared if row not in left), failed)


@dataclass(frozen=True)
class _Outlook:
    """What more rounds of a test can be expected to tell.

    Attributes:
        left: Rows of the contenders.
        test: The test.
        direction: Direction of the objective.
        repeats: Repeats of each contender.
        folds: Number of values that a repeat adds.
    """

    left: tuple[Row, ...]
    test: SequentialTest
    direction: Direction
    repeats: int
    folds: int

    def judged(self, verdict: Verdict, at_most: int) -> Verdict:
        """Say in a verdict whether a next round within the limit is futile."""
        if self.repeats >= at_most or self.share(at_most) >= _FUTILE:
            return verdict
        more = (at_most * 2**doubling for doubling in range(1, _DOUBLINGS + 1))
        return replace(verdict, is_futile=True, enough=next((n for n in more if self.share(n) >= _FUTILE), None))

    def share(self, at_most: int) -> float:
        """Return the share of the contenders, without the best, that the last of all rounds would call worse.

        It is the mean of their predictive probabilities (Spiegelhalter, Freedman and Blackburn, Controlled Clinical
        Trials 1986). Ending a test early in this way cannot make it err more often.
        """
        best = next((row for row in self.left if row["diff"] == 0.0 and row[DIFF_ERROR] is None), None)
        return fmean(self._probability(row, at_most - self.repeats) for row in self.left if row is not best)

    def _probability(self, row: Row, rounds: int) -> float:
        """Return the probability that the last round's difference is significant, given today's and no prior view.

        That difference is normal around today's; its variance is what the variance loses on the way.
        """
        if not row[DIFF_ERROR]:
            return 1.0  # unknown, so the test goes on
        n = row["n"] + rounds * self.folds
        overlap = overlap_of_folds(self.folds)
        error = row[DIFF_ERROR] * math.sqrt((1 / n + overlap) / (1 / row["n"] + overlap))
        level = Look(self.test.round + rounds, frozenset()).confidence
        df = (len(self.test.members) - 1) * (n - 1)
        threshold = studentized_range_quantile(level, len(self.left), df) / math.sqrt(2) * error
        return float(ndtr((self.direction.key(row["diff"]) - threshold) / math.sqrt(row[DIFF_ERROR] ** 2 - error**2)))


def _complete(count: int) -> str:
    return (
        "no trial is complete yet"
        if not count
        else "only one configuration has a complete trial"
        if count == 1
        else "--top 1 leaves one"
    )
