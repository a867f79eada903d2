"""Rows into tables: what the lines say, without what is derived from them.

Where two lines speak of one thing, which of them counts is decided by what they say and never by which came
first, so every order of merging ends in the same tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import String, func, literal_column, or_, tuple_

from cnn_sweep.store import schema
from cnn_sweep.store.dialect import new, run_many, upsert, upsert_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Insert, Table

    from cnn_sweep.store.rows import Rows

_START = ("writer", "started", "configuration", "repeat", "seed", "start_epoch", "start_parameters")
_END = (
    *("ended", "end_state", "end_cause", "end_message", "end_epochs", "end_seconds", "end_parameters"),
    *("end_cached", "end_curve_json"),
)
_LOST = ("lost", "lost_cause", "lost_message")
_CHECKPOINT = ("checkpointed", "checkpoint_epoch", "checkpoint_file", "checkpoint_bytes")
_ATTEMPT = ("study", "trial", "attempt")


def write_rows(connection: Connection, rows: Rows) -> None:
    """Insert what a batch of lines says."""
    run_many(connection, _EPOCHS, sorted(rows.epochs))
    run_many(connection, _ATTEMPT_KEYS, [(rows.study, *key) for key in sorted(rows.attempts)])
    for kind, found in rows.others.items():
        if kind == "start":
            run_many(connection, _STARTS, [row[:-1] for row in found])
            run_many(connection, _CONFIGURATIONS, [(row[0], row[5], row[-1]) for row in found])
        elif kind == "cancel":
            run_many(connection, _CANCELS, [row for row in found if row[1] is not None])
        elif kind == "submit":
            run_many(connection, _JOBS, [(study, *job) for study, *jobs in found for job in jobs])
        else:
            run_many(connection, _PLAIN[kind], found)


def _comparable(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Give a missing value a place in the order: without one, which row counts would depend on which came first."""
    return func.coalesce(column, literal_column("''" if isinstance(column.type, String) else "-1"))


def _sides(table: Table, columns: Sequence[str]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the new row and the one that is there, to be compared by ``columns``."""
    offered = tuple_(*(_comparable(new(table, name)) for name in columns))
    return offered, tuple_(*(_comparable(table.c[name]) for name in columns))


def _first(table: Table, columns: Sequence[str]) -> ColumnElement[bool]:
    """Prefer the row that sorts first by ``columns``; a row without the first of them is no rival."""
    offered, known = _sides(table, columns)
    return or_(table.c[columns[0]].is_(None), offered < known)


def _last(table: Table, columns: Sequence[str]) -> ColumnElement[bool]:
    """Prefer the row that sorts last by ``columns``; a row without the first of them is no rival."""
    offered, known = _sides(table, columns)
    return or_(table.c[columns[0]].is_(None), offered > known)


def _values(table: Table) -> list[str]:
    """Return the columns of a table that are not its key."""
    return [column.name for column in table.columns if not column.primary_key]


def _of_attempt(columns: Sequence[str], prefer: ColumnElement[bool]) -> Insert:
    return upsert(schema.attempts, [*_ATTEMPT, *columns], replaced=columns, prefer=prefer)


_EPOCHS = upsert_all(schema.epochs, prefer=_first(schema.epochs, ("time", "seconds", "metrics_json")))
_ATTEMPT_KEYS = upsert(schema.attempts, _ATTEMPT)
_STARTS = _of_attempt(_START, _first(schema.attempts, _START))
_CONFIGURATIONS = upsert(schema.configurations, ["study", "configuration", "params_json"])
_CANCELS = upsert(
    schema.trials,
    ["study", "trial", "cancelled"],
    replaced=["cancelled"],
    prefer=_last(schema.trials, ["cancelled"]),
)
_JOBS = upsert_all(schema.jobs, prefer=_first(schema.jobs, _values(schema.jobs)))
_PLAIN = {
    "worker": upsert_all(schema.workers, prefer=_first(schema.workers, _values(schema.workers))),
    "checkpoint": _of_attempt(_CHECKPOINT, _last(schema.attempts, ("checkpoint_epoch", *_CHECKPOINT))),
    "end": _of_attempt(_END, _first(schema.attempts, _END)),
    "artifact": upsert_all(schema.artifacts, prefer=_last(schema.artifacts, _values(schema.artifacts))),
    "lost": _of_attempt(_LOST, _first(schema.attempts, _LOST)),
    "extend": upsert_all(schema.revisions, prefer=_first(schema.revisions, _values(schema.revisions))),
    "finalize": upsert(
        schema.trials,
        ["study", "trial", "tested", "test_metrics_json"],
        replaced=["tested", "test_metrics_json"],
        prefer=_last(schema.trials, ("tested", "test_metrics_json")),
    ),
}
