"""The rounds of ``repeat --until-decided``: which configurations are left, and which repeats the next round adds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import StudyError
from cnn_sweep.store.column_names import VIOLATION
from cnn_sweep.sweep.repeats import MoreRepeats, newest_test, selection_repeats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.repeats import Revision

_LEAST: Final = 2  # new values of a configuration that can be compared


@dataclass(frozen=True)
class Verdict:
    """What the repeats so far say.

    Attributes:
        round: Number of the round that was judged; 0 before the first.
        left: Rows of the configurations that cannot be told from the best, the best first.
        worse: Rows of those that this round called worse.
        failed: Rows of those that leave the test because fewer than two of their new trials have a value.
        next: The repeats of the next round; None once the best is told from the rest.
    """

    round: int
    left: tuple[Row, ...]
    worse: tuple[Row, ...] = ()
    failed: tuple[Row, ...] = ()
    next: MoreRepeats | None = None


def judge(board: Table, trials: Table, revisions: Sequence[Revision], *, direction: Direction, top: int) -> Verdict:
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
        top: The largest number of configurations in a test.

    Raises:
        StudyError: There are no two configurations to compare.
    """
    ranked = [row for row in board.rows if row["rank"] is not None]
    last = revisions[-1].more_repeats
    if last is not None and last.round is not None:
        return _of_round(ranked, trials, revisions, last)
    ranked = [row for row in ranked if not row.get(VIOLATION)] or ranked
    tied = [row for row in ranked if row["tied"] is True]
    others = [
        row for row in ranked if row["tied"] is None and not (tied and direction.better(tied[0]["mean"], row["mean"]))
    ]
    left = (*tied, *others)[:top]
    if len(left) == len(tied) == 1 and not others:
        return Verdict(0, left)
    if len(left) < 2:
        raise StudyError(f"{_complete(len(ranked))}; a comparison needs two (--top 2 or more)")
    own = {row["configuration"] for row in left}
    folds = revisions[-1].fold_count
    trainings = max(row["repeat"] for row in trials.rows if row["configuration"] in own) + 1
    before, more = -(-trainings // folds), _LEAST if folds == 1 else 1  # all folds of one repeat are enough
    return Verdict(0, left, next=MoreRepeats(tuple(row["trial"] for row in left), before + more, 1))


def _of_round(ranked: list[Row], trials: Table, revisions: Sequence[Revision], last: MoreRepeats) -> Verdict:
    configurations = {row["trial"]: row["configuration"] for row in trials.rows}
    test = newest_test(revisions, configurations)
    began = {name: chose[-1] for name, chose in selection_repeats(revisions, configurations).items()}
    new: Counter[str] = Counter()
    for row in trials.rows:
        is_new = row["configuration"] in began and row["repeat"] >= began[row["configuration"]]
        new[row["configuration"]] += is_new and row["rank"] is not None and math.isfinite(row["value"])
    own = [row for row in ranked if test is not None and row["configuration"] in test.contenders]
    failed = tuple(row for row in own if new[row["configuration"]] < _LEAST)
    compared = [row for row in own if row not in failed]
    if not compared:
        raise StudyError("none of the configurations has two complete new trials, so they cannot be compared")
    left = tuple(row for row in compared if row["tied"] is not False and not row.get(VIOLATION)) or (compared[0],)
    worse = tuple(row for row in compared if row not in left)
    number = last.round or 1
    following = MoreRepeats(tuple(row["trial"] for row in left), last.repeats + 1, number + 1)
    return Verdict(number, left, worse, failed, following if len(left) > 1 else None)


def _complete(count: int) -> str:
    return (
        "no trial is complete yet"
        if not count
        else "only one configuration has a complete trial"
        if count == 1
        else "--top 1 leaves one"
    )
