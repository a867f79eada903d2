"""Leaderboards with a row per configuration, for studies whose configurations were trained with several seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.journal.paths import sweep_file_cure
from cnn_sweep.journal.study_files import read_text
from cnn_sweep.journal.sweep_files import read_revisions
from cnn_sweep.report.leaderboards.comparison import Look, Standing, alone, compare, overlap_of_folds
from cnn_sweep.store.column_names import VIOLATION
from cnn_sweep.sweep.repeats import newest_test, read_more_repeats, selection_repeats, unbiased_values
from cnn_sweep.sweep.spec.metrics import is_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.repeats import SequentialTest
    from cnn_sweep.sweep.sweep import Sweep

STATISTICS: Final = ("mean", "sd", "n", "ci_low", "ci_high", "tied", "diff", "diff_low", "diff_high")
WORST: Final = "worst"
LEFT_OUT: Final = "left_out"
DIFF_ERROR: Final = "diff_se"
_PLACE: Final = ""  # key of a row's place in a test; no column has this name
_AFTER: Final = "seconds"


def board_of(paths: StudyPaths, table: Table, *, metric: str, direction: Direction) -> Table:
    """Return a study's leaderboard with a row per configuration; see :func:`per_configuration`.

    Args:
        paths: The study's files, which record the use of ``repeat`` and the number of folds.
        table: A row per trial, ranked.
        metric: The objective.
        direction: Direction of the objective.
    """
    texts = [read_text(file, sweep_file_cure(paths)) for file in paths.revisions()]
    # Reading a sweep takes a while, and most studies have neither.
    is_needed = any(read_more_repeats(text) or "folds" in text for text in texts)
    revisions = read_revisions(paths) if is_needed else ()
    return per_configuration(table, metric=metric, direction=direction, revisions=revisions)


def per_configuration(table: Table, *, metric: str, direction: Direction, revisions: Sequence[Sweep] = ()) -> Table:
    """Combine the trials of each configuration into one row.

    The row has the columns of the configuration's first complete trial (or of its first trial), and after ``seconds``
    the columns ``STATISTICS`` over the values of its complete trials, except those by which ``repeat`` chose it. Rows
    are ranked by mean. Those with a single value follow those with several, since the best of many single values is
    optimistic (selection bias). A configuration is feasible if all of its trials are; infeasible ones come last and are
    not compared. In a test by ``repeat --until-decided``, its contenders come first, and only they are compared.

    Args:
        table: A row per trial, ranked, with ``configuration``, ``repeat`` and ``seed``.
        metric: The objective.
        direction: Direction of the objective.
        revisions: Revisions of the sweep, including those of ``repeat``; the oldest first.
    """
    groups: dict[Any, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(row["configuration"] or ("trial", row["trial"]), []).append(row)
    rows = [
        {column_beside_statistics(name): value for name, value in _first(group).items()} for group in groups.values()
    ]
    configurations = {row["trial"]: row["configuration"] for row in table.rows}
    chose, test = selection_repeats(revisions, configurations), newest_test(revisions, configurations)
    known = [_values(group) for group in groups.values()]
    samples = [unbiased_values(values, chose.get(name, ())) for name, values in zip(groups, known, strict=True)]
    newest = [chose.get(name, (0,))[-1] for name in groups]
    lucky = [min(sample, default=0) < last for sample, last in zip(samples, newest, strict=True)]
    fair = [name for name, sample, is_lucky in zip(groups, samples, lucky, strict=True) if sample and not is_lucky]
    violations = [_violation(group) for group in groups.values()]
    is_compared = [bool(sample) and not violation for sample, violation in zip(samples, violations, strict=True)]
    compared = [name for name, is_one in zip(groups, is_compared, strict=True) if is_one]
    folds = revisions[-1].fold_count if revisions else 1
    overlap = overlap_of_folds(folds)
    look = _look(test, compared, fair)
    several = [sample for sample, is_one in zip(samples, is_compared, strict=True) if is_one]
    standings = iter(_within_bounds(compare(several, direction, look=look, overlap=overlap), metric, known))
    for place, (name, row, values, sample) in enumerate(zip(groups, rows, known, samples, strict=True)):
        infeasible = alone(list(sample.values())) if sample else None
        standing = next(standings) if is_compared[place] else infeasible
        row.update(_statistics(standing), left_out=len(values) - len(sample))
        row[DIFF_ERROR] = None if standing is None else standing.difference_error
        if VIOLATION in table.columns:
            row[VIOLATION] = violations[place]
        row[WORST] = max(sample.values(), key=direction.key) if sample else None
        row[_PLACE] = 0.0 if test is None else test.place(name, is_fair=name in fair)
    names = [column_beside_statistics(name) for name in table.columns]
    place = names.index(_AFTER) + 1
    ranked = tuple(_ranked(rows, direction))
    return replace(
        table,
        columns=(*names[:place], *STATISTICS, *names[place:]),
        rows=ranked,
        more=(*table.more, WORST, LEFT_OUT, DIFF_ERROR),
        verdict=STATISTICS,
        notes=tuple(_notes(ranked, folds, optimistic=sum(lucky), test=test)),
    )


def _look(test: SequentialTest | None, compared: Sequence[Any], fair: Sequence[Any]) -> Look | None:
    """Return a test's look at configurations; those with too few values since the test began are left alone."""
    if test is None:
        return None
    places = {name: place for place, name in enumerate(compared) if name in fair}
    contenders = frozenset(place for name, place in places.items() if name in test.contenders)
    worse = frozenset(place for name, place in places.items() if name in test.members - test.contenders)
    return Look(test.round, contenders, worse)


def column_beside_statistics(name: str) -> str:
    """Return a column's name beside the statistics, whose names hyperparameters may share."""
    return f"params_{name}" if name in {*STATISTICS, WORST, LEFT_OUT, DIFF_ERROR} else name


def _first(group: list[Row]) -> Row:
    """Return the trial that represents its configuration."""
    return min(group, key=lambda row: (row["state"] != "complete", row["value"] is None, row["trial"]))


def _values(group: list[Row]) -> dict[int, float]:
    """Return the complete trials' values by repeat; a repeat has the same seed in all configurations."""
    complete = (row for row in group if row["state"] == "complete" and row["value"] is not None)
    return {row["repeat"]: row["value"] for row in complete if math.isfinite(row["value"])}


def _violation(group: list[Row]) -> float | None:
    """Return the mean violation of the constraints by the complete trials; None if the study has no constraints."""
    found = [row[VIOLATION] for row in group if row["rank"] is not None and row.get(VIOLATION) is not None]
    return fmean(found) if found else None


def _within_bounds(found: list[Standing], metric: str, values: list[dict[int, float]]) -> list[Standing]:
    """Limit the intervals of means to 0..1 if the metric's values are in that range, but not those of differences."""
    # A user's function may report accuracy in per cent, so the values decide, not the name.
    if not is_share(metric) or not all(0.0 <= value <= 1.0 for own in values for value in own.values()):
        return found
    return [
        one if one.low is None or one.high is None else replace(one, low=max(one.low, 0.0), high=min(one.high, 1.0))
        for one in found
    ]


def _statistics(found: Standing | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(STATISTICS) | {"n": 0}
    values = (found.mean, found.sd, found.n, found.low, found.high, found.tied)
    return dict(zip(STATISTICS, (*values, found.difference, found.difference_low, found.difference_high), strict=True))


def _ranked(rows: list[Row], direction: Direction) -> list[Row]:
    ranked = [row for row in rows if row["n"]]
    ranked.sort(
        key=lambda row: (
            row.get(VIOLATION) or 0.0,
            row[_PLACE],
            row["n"] == 1,
            direction.key(row["mean"]),
            row["trial"],
        )
    )
    others = [row for row in rows if not row["n"]]  # ordered as on the leaderboard of trials
    for row in rows:
        del row[_PLACE]
    return [row | {"rank": rank} for rank, row in enumerate(ranked, start=1)] + [row | {"rank": None} for row in others]


def _notes(rows: Sequence[Row], folds: int, *, optimistic: int, test: SequentialTest | None) -> list[str]:
    """Return notes that explain the statistics in these rows."""
    several, of = sum(row["n"] > 1 for row in rows), "folds" if folds > 1 else "seeds"
    left_out = sum(row[LEFT_OUT] > 0 for row in rows)
    notes = []
    if test is not None:
        notes.append(
            f"Round {test.round} of a test of {len(test.members)} configurations by `repeat --until-decided`: what a "
            "round called worse stays so; ci_low to ci_high and diff_low to diff_high are 95% intervals for all "
            "contenders and all rounds together"
        )
    elif several > 1:
        notes.append(
            f"ci_low to ci_high and diff_low to diff_high are 95% intervals that hold for all {several} configurations "
            f"with several {of} together, so also for the first row; diff compares with the first row as if all had "
            f"had the same {of}"
        )
    if several and folds > 1:
        notes.append(
            f"The means are over {folds} folds; the intervals allow for the overlap of their training sets (Nadeau and "
            "Bengio); `--columns '*,worst'` shows the worst fold"
        )
    if left_out:
        notes.append(
            f"The mean, sd, n and the intervals leave out {of} by which `repeat` chose the configuration in "
            f"{_rows(left_out)}"
        )
    if optimistic:
        notes.append(
            f"The mean includes {of} by which `repeat` chose the configuration in {_rows(optimistic)}; it is "
            "optimistic until two newer repeats are complete"
        )
    return notes


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
