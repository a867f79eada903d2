"""Leaderboards of groups of trials (``--by``) and of several studies together."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.report.leaderboards.leaderboard import Table, check_columns, differing
from cnn_sweep.store.column_names import VIOLATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.sweep.direction import Direction

OF_A_GROUP = ("n", "trials", "mean", "std", "best", "best_trial")


def grouped(table: Table, by: Sequence[str], *, direction: Direction) -> Table:
    """Summarise ranked trials with the same values in some columns, the group with the best mean first.

    Args:
        table: A leaderboard.
        by: Columns whose values define a group; a missing value counts as a value.
        direction: Direction of the objective.

    Returns:
        A row for each group: the columns of ``by``; ``n`` (configurations) and ``trials`` (ranked ones); ``mean`` and
        ``std`` (sample standard deviation; missing for one configuration) over the means of configurations, so that
        one with many repeats counts once; the best value, ``best``, and its trial, ``best_trial``.

    Raises:
        InputError: A column is unknown.
    """
    check_columns(table, by)
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.get("rank") is not None:
            groups.setdefault(json.dumps([row.get(name) for name in by]), []).append(row)
    rows = [_summed_up(members, by, direction) for members in groups.values()]
    rows.sort(key=lambda row: (direction.key(row["mean"]), row["best_trial"]))
    leading = ("study",) if "study" in table.columns and "study" not in by else ()
    return Table((*by, *OF_A_GROUP, *leading), tuple(rows))


def _summed_up(members: list[Row], by: Sequence[str], direction: Direction) -> Row:
    values = _means(members)
    best = min(members, key=lambda row: (row.get(VIOLATION) or 0.0, direction.key(row["value"]), row["rank"]))
    summary: Row = {name: best.get(name) for name in by}
    summary |= {
        "n": len(values),
        "trials": len(members),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None,
        "best": best["value"],
        "best_trial": best["trial"],
    }
    return summary | ({"study": best["study"]} if "study" in best and "study" not in by else {})


def _means(members: list[Row]) -> list[float]:
    """Return the mean of each configuration's trials."""
    values: dict[Any, list[float]] = {}
    for row in members:
        name = row.get("configuration") or ("trial", row["trial"])
        values.setdefault((row.get("study"), name), []).append(row["value"])
    return [statistics.fmean(own) for own in values.values()]


def compared(boards: Sequence[tuple[dict[str, Any], Table]]) -> Table:
    """Rank the trials of several studies in one table, whose first column is the study.

    Args:
        boards: Each study's summary (:func:`cnn_sweep.store.queries.study_summary`) and its leaderboard.

    Raises:
        InputError: The studies have different objectives.
    """
    objectives = {(summary["metric"], summary["direction"], summary["last_epochs"]) for summary, _ in boards}
    if len(objectives) > 1:
        each = "; ".join(f"{s['study']}: {s['direction']} {s['metric']}{_epochs(s['last_epochs'])}" for s, _ in boards)
        raise InputError(f"studies with different objectives have no common ranking: {each}")
    direction = objectives.pop()[1]
    rows = [{**row, "study": summary["study"]} for summary, table in boards for row in table.rows]
    ranked = [row for row in rows if row["rank"] is not None]
    ranked.sort(key=lambda row: (row.get(VIOLATION) or 0.0, direction.key(row["value"])))
    rows = [{**row, "rank": rank} for rank, row in enumerate(ranked, start=1)]
    rows += [{**row, "study": s["study"]} for s, table in boards for row in table.rows if row["rank"] is None]
    return Table(_columns(boards), tuple(rows), _union(table.more for _, table in boards))


def _epochs(last: int | None) -> str:
    return "" if last is None else " in the last epoch" if last == 1 else f" over the last {last} epochs"


def _columns(boards: Sequence[tuple[dict[str, Any], Table]]) -> tuple[str, ...]:
    """Join the studies' columns, hyperparameters last as in each of them."""
    parameters = set(_union(summary["parameters"] for summary, _ in boards))
    names = _union(table.columns for _, table in boards)
    others = [name for name in names if name not in parameters and name != "rank"]
    return ("rank", "study", *others, *(name for name in names if name in parameters))


def _union(lists: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def without_constants(table: Table, names: Sequence[str]) -> Table:
    """Leave out the columns among ``names`` that have the same value in all rows.

    With fewer than two rows, nothing is left out.
    """
    same = set(names).difference(differing(table, names))
    return replace(table, columns=tuple(name for name in table.columns if name not in same))
