"""Leaderboards: rows of the store, filtered, sorted, cut to size and written in a machine-readable form."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.expressions import ABSENT, Expression, ExpressionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows with named columns; a value that a row does not have is None.

    Attributes:
        columns: Names, in the order to show them.
        rows: One mapping a row.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Selection:
    """What of a leaderboard to show.

    Attributes:
        where: Keep rows for which this expression over columns is true.
        sort: Column to sort by, ascending; with a leading ``-`` descending.
        top: Keep this many rows.
        columns: Show these columns only.
    """

    where: str | None = None
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] = ()


def select(table: Table, selection: Selection) -> Table:
    """Filter, then sort, then cut.

    Raises:
        InputError: An unknown column, or an expression that is not one.
    """
    rows = list(table.rows)
    if selection.where is not None:
        try:
            rows = _filter(table, selection.where)
        except ExpressionError as error:
            raise InputError(f"--where: {error}") from None
    if selection.sort is not None:
        rows = _sort(table, rows, selection.sort)
    if selection.top is not None:
        rows = rows[: selection.top]
    for name in selection.columns:
        _check_column(table, name)
    return Table(selection.columns or table.columns, tuple(rows))


def _check_column(table: Table, name: str) -> None:
    if name not in table.columns:
        raise InputError(f"unknown column {name!r}; columns: {', '.join(table.columns)}")


def _filter(table: Table, where: str) -> list[Row]:
    expression = Expression(where)
    for name in expression.names:
        _check_column(table, name)
    kept = []
    for row in table.rows:
        known = {name: value for name, value in row.items() if value is not None}
        verdict = expression.evaluate(known)
        if verdict is not ABSENT and verdict:  # a row without the value is not one that meets the condition
            kept.append(row)
    return kept


def _sort(table: Table, rows: list[Row], sort: str) -> list[Row]:
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    _check_column(table, name)
    with_value = [row for row in rows if not _is_missing(row.get(name))]
    without = [row for row in rows if _is_missing(row.get(name))]
    try:
        ordered = sorted(with_value, key=lambda row: row[name], reverse=descending)
    except TypeError:  # a hyperparameter with values of several types
        ordered = sorted(with_value, key=lambda row: str(row[name]), reverse=descending)
    return ordered + without


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def to_csv(table: Table) -> str:
    """Write comma-separated values with full precision; an empty field is a missing value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow(["" if (value := row.get(name)) is None else _plain(value) for name in table.columns])
    return text.getvalue()


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def to_json(table: Table) -> str:
    """Write a list of objects; numbers that JSON has no word for (NaN, infinities) are strings."""
    rows = [{name: _finite(row.get(name)) for name in table.columns} for row in table.rows]
    return json.dumps(rows, indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(table: Table) -> str:
    """Write a pipe table, as people paste it into a README."""
    lines = [_markdown_row(table.columns), _markdown_row(["---"] * len(table.columns))]
    lines += [_markdown_row([shown(row.get(name)) for name in table.columns]) for row in table.rows]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def shown(value: Any) -> str:
    """Give a value as people read it: five significant digits, nothing where there is nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(_plain(value))


def differing(table: Table, names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """List the columns among ``names`` whose values are not the same in all rows."""
    return [name for name in names if len({json.dumps(row.get(name), default=str) for row in table.rows}) > 1]
