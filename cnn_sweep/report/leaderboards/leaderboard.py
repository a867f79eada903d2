"""Leaderboards as tables: filtering, sorting, limiting rows and choosing columns."""

from __future__ import annotations

import fnmatch
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.messages import near, plural, span
from cnn_sweep.report.leaderboards.filters import Filter, FilterError
from cnn_sweep.store.column_names import MISSING_EPOCHS, VIOLATION
from cnn_sweep.streams import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Row = dict[str, Any]

MEASURES: Final = ("best_epoch", "parameters", "seconds")
# Statistics over repeats that `overview` shows first.
_STATISTICS: Final = ("mean", "sd", "n", "tied")


@dataclass(frozen=True)
class Table:
    """Rows with named columns; missing values are None.

    Attributes:
        columns: Names in display order.
        rows: A mapping for each row.
        more: Names of further columns, shown only on request.
        verdict: Columns that rate a row besides or instead of the value: statistics over repeats, other objectives.
        notes: Sentences that explain columns.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """A choice of a leaderboard's rows and columns.

    Attributes:
        where: Keep rows for which this condition is true; see :mod:`cnn_sweep.report.leaderboards.filters`.
        sort: Column to sort by, ascending; with a leading ``-`` descending.
        top: Keep this number of rows.
        columns: Show only these columns; ``*`` and ``?`` match as in a shell.
    """

    where: str | None = None
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] = ()


def select(table: Table, selection: Selection) -> Table:
    """Filter, sort and cut a table, in this order.

    Raises:
        InputError: A column is unknown, or the condition is invalid.
    """
    table = matching(table, selection.where)
    rows = list(table.rows)
    if selection.sort is not None:
        rows = _sort(table, rows, selection.sort)
    if selection.top is not None:
        rows = rows[: selection.top]
    return replace(table, columns=matched(table, selection.columns) or table.columns, rows=tuple(rows))


def matching(table: Table, where: str | None) -> Table:
    """Keep the rows that meet a condition, if there is one.

    Raises:
        InputError: A column is unknown, or the condition is invalid.
    """
    if where is None:
        return table
    try:
        condition = Filter(where)
        check_columns(table, condition.names, hint="; put text in quotes: '{name}'")
        return replace(table, rows=tuple(filter(condition.accepts, table.rows)))
    except FilterError as error:
        raise InputError(f"--where: {error}") from None


def matched(table: Table, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that match patterns, in the patterns' order and each once.

    Raises:
        InputError: A pattern matches no column.
    """
    known = (*table.columns, *table.more)
    found: dict[str, None] = {}
    for pattern in patterns:
        names = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not names:
            check_columns(table, [pattern])
        found |= dict.fromkeys(names)
    return tuple(found)


def check_columns(table: Table, names: Iterable[str], *, hint: str = "") -> None:
    """Check that a table has these columns.

    Raises:
        InputError: A column is unknown; the message ends with ``hint``, in which ``{name}`` stands for the column.
    """
    known = (*table.columns, *table.more)
    for name in names:
        if name not in known:
            meant = near(name, known) + hint.format(name=name)
            raise InputError(f"unknown column {name!r}{meant}; columns: {', '.join(known)}")


def overview(table: Table, parameters: Sequence[str]) -> Table:
    """Keep the columns of a leaderboard that most readers need, the most important first.

    These are rank, trial, state and value, then the hyperparameters that differ, then those of best epoch, parameters
    and seconds that differ. With repeats, state and value are those of one trial only and are left out: mean, sd, n and
    tied come first, then the hyperparameters, then the intervals.
    """
    leading = table.columns[: table.columns.index("value")] if "value" in table.columns else ()
    differ, measures = differing(table, parameters), differing(table, MEASURES)
    if "mean" in table.verdict:
        own = (name for name in leading if name != "state")
        names = (*own, *_STATISTICS, VIOLATION, *differ, *table.verdict, *measures)
    else:
        names = (*leading, "value", VIOLATION, MISSING_EPOCHS, *table.verdict, *differ, *measures)
    return replace(table, columns=tuple(name for name in dict.fromkeys(names) if name in table.columns))


def overview_first(table: Table, parameters: Sequence[str]) -> Table:
    """Keep all columns of a leaderboard, those of its overview first."""
    first = overview(table, parameters).columns
    return replace(table, columns=tuple(dict.fromkeys((*first, *table.columns))))


def differing(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns whose values differ between rows; with fewer than two rows, all of them."""
    if len(table.rows) < 2:
        return tuple(names)
    return tuple(name for name in names if len({json.dumps(row.get(name)) for row in table.rows}) > 1)


def _sort(table: Table, rows: list[Row], sort: str) -> list[Row]:
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    check_columns(table, [name])
    with_value = [row for row in rows if not _is_missing(row.get(name))]
    without = [row for row in rows if _is_missing(row.get(name))]
    try:
        ordered = sorted(with_value, key=lambda row: row[name], reverse=descending)
    except TypeError:  # a hyperparameter with values of several types
        ordered = sorted(with_value, key=lambda row: str(row[name]), reverse=descending)
    return ordered + without


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def plain(value: Any) -> Any:
    """Return lists and mappings as JSON, any other value unchanged."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def shown(value: Any) -> str:
    """Return a value as text for people: five significant digits, nothing for None, no control characters."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5g}"
    return printable(str(plain(value)))


def not_counted(trials: Mapping[str, int]) -> str:
    """Say how many trials, by state, a pruner kept from being analysed; empty if none."""
    pruned = trials.get("pruned", 0)
    which = plural(pruned, "pruned trial is", "pruned trials are")
    return f"{which} not counted, so what made trials stop early may matter more than this says." if pruned else ""


def incomplete_in_words(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return a note about trials of which epochs are missing, if there are any."""
    count = sum(bool(row.get(MISSING_EPOCHS)) for row in rows)
    which, cause = plural(count, "trial"), "epochs are missing from the journal (`cnn-sweep store check`)"
    return (f"{which}: {cause}; the value is the one that the end of the trial recorded",) if count else ()


def value_in_words(metric: str, last_epochs: int | None) -> tuple[str, ...]:
    """Return a note about what the column ``value`` holds, if that is not the value of the best epoch."""
    if last_epochs is None:
        return ()
    what = (
        f"{metric} after the last epoch"
        if last_epochs == 1
        else f"the mean of {metric} over the last {last_epochs} epochs"
    )
    return (f"value is {what}; the model, and best_epoch, are those of the last epoch",)


def constraints_in_words(constraints: Sequence[str]) -> tuple[str, ...]:
    """Return a note about constraints on what trials measure, if there are any."""
    what = f"violation is that of {' and '.join(constraints)}, as fractions of the bounds"
    return (f"{what}; results with one rank behind those without",) if constraints else ()


def mean_in_words(row: Row, *, others: int) -> str:
    """Describe the mean of a configuration with several seeds, and the number of others tied with it."""
    interval = "" if row["ci_low"] is None else f", 95% interval {span(row['ci_low'], row['ci_high'], 5)}"
    tied = f"; {others} other{'s' if others > 1 else ''} cannot be distinguished from it" if others else ""
    return f"mean {row['mean']:.5g} (sd {row['sd']:.2g}, n {row['n']}{interval}){tied}"
