"""Pareto fronts on the leaderboards of studies with several objectives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.search.pareto import hypervolume, knee, pareto_front, scaled_losses
from cnn_sweep.store.column_names import VIOLATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row, Table
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

PARETO: Final = "pareto"
_VOLUMES: Final = (2, 3)  # numbers of objectives for which hypervolumes are computed


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


def knee_of(front: Sequence[Row], objectives: Sequence[ObjectiveSpec]) -> Row | None:
    """Return the row at the knee of a front; None without one. See :func:`cnn_sweep.search.pareto.knee`."""
    place = knee(_values(front, objectives), [one.direction for one in objectives]) if front else None
    return None if place is None else front[place]


def comparable(rows: Sequence[Row], objectives: Sequence[ObjectiveSpec]) -> list[Row]:
    """Return the rows with a finite value of each objective, in the order in which their trials ended."""
    found = [row for row in rows if all(_is_finite(row.get(one.metric)) for one in objectives)]
    return sorted(found, key=lambda row: (row["ended"] or 0.0, row["trial"]))


def hypervolumes(rows: Sequence[Row], objectives: Sequence[ObjectiveSpec]) -> list[float]:
    """Return the hypervolume of the front of the first row, the first two rows, and so on.

    Args:
        rows: Rows with a value of each objective. All of them together give the range of each objective.
        objectives: All objectives.

    Returns:
        Shares from 0 to 1; none unless there are 2 or 3 objectives, since exact volumes for more take too long.
    """
    if not rows or len(objectives) not in _VOLUMES:
        return []
    losses = scaled_losses(_values(rows, objectives), [one.direction for one in objectives])
    front, found = losses[:0], [0.0]
    for loss in losses:
        if (front <= loss).all(axis=1).any():
            found.append(found[-1])
            continue
        front = np.vstack([front[~(loss <= front).all(axis=1)], loss])
        found.append(hypervolume(front))
    return found[1:]


def _values(rows: Sequence[Row], objectives: Sequence[ObjectiveSpec]) -> list[list[float]]:
    return [[float(row[one.metric]) for one in objectives] for row in rows]


def _is_finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def column_of(table: Table, metric: str) -> str:
    """Return the name of a metric's column, which is longer if another column has the metric's name."""
    longer = f"{metric}_at_best_epoch"
    return longer if longer in table.columns else metric


def _value(row: Row, column: str) -> float | None:
    value = row.get(column)
    return None if value is None else float(value)
