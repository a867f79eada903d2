"""Pareto fronts on the leaderboards of studies with several objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import InputError
from cnn_sweep.search.pareto import pareto_front
from cnn_sweep.store.column_names import VIOLATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

PARETO: Final = "pareto"


def with_front(table: Table, objectives: Sequence[ObjectiveSpec]) -> Table:
    """Add a column that is true for ranked, feasible rows on the Pareto front.

    Args:
        table: A leaderboard.
        objectives: All objectives; with a single one the table stays unchanged.
    """
    if len(objectives) < 2:
        return table
    columns = [column_of(table, one.metric) for one in objectives]
    values = [
        [_value(row, column) if row.get("rank") is not None and not row.get(VIOLATION) else None for column in columns]
        for row in table.rows
    ]
    front = pareto_front(values, [one.direction for one in objectives])
    rows = tuple(row | {PARETO: on_front} for row, on_front in zip(table.rows, front, strict=True))
    names = (table.columns[0], PARETO, *table.columns[1:])
    return replace(table, columns=names, rows=rows, verdict=tuple(columns[1:]))


def only_front(table: Table) -> Table:
    """Keep the rows on the Pareto front.

    Raises:
        InputError: The study has one objective.
    """
    if PARETO not in table.columns:
        raise InputError("--pareto: the study has one objective; a sweep file with `objectives:` has several")
    return replace(table, rows=tuple(row for row in table.rows if row[PARETO]))


def column_of(table: Table, metric: str) -> str:
    """Return the name of a metric's column, which is longer if another column has the metric's name."""
    longer = f"{metric}_at_best_epoch"
    return longer if longer in table.columns else metric


def _value(row: Row, column: str) -> float | None:
    value = row.get(column)
    return None if value is None else float(value)
