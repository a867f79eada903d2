"""Converts journal lines to rows and writes them into the tables; a merge spends most of its time here.

:mod:`cnn_sweep.store.schema` declares what each event writes. If two lines describe the same thing, their content
decides which one is kept, not their order, so every order of merging gives the same tables.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Float, Integer, String, Text, func, literal_column, or_, tuple_

from cnn_sweep.journal.decoding import misfit
from cnn_sweep.journal.events import Epoch
from cnn_sweep.journal.log import metric_value
from cnn_sweep.store import schema
from cnn_sweep.store.sqlite import new, run_many, to_flag, to_integer, to_json, to_number, to_text, upsert, upsert_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Table

    from cnn_sweep.store.schema import EventTable

Row = tuple[Any, ...]
_TOGETHER = 500  # lines parsed at once, which is a third faster
_METRICS = b'"metrics":'
_EPOCH_FIELDS = 1 + len(Epoch.field_names())  # and the type
_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    BigInteger: to_integer,
    Integer: to_flag,  # counts are BigInteger
    Float: to_number,
    String: to_text,
    Text: to_text,
}


class _Writing:
    """Implements a record of the schema: converts a line to a row, and has the statement that writes it.

    Args:
        record: Declaration of what an event writes to a table.
    """

    def __init__(self, record: EventTable) -> None:
        table = record.table
        keys = [column for column in table.primary_key if column.name != "study"]
        filled = [c for c in table.columns if "source" in c.info and c.info["source"].event is record.event]
        self._unless = record.unless
        names = [column.name for column in filled]
        first = [*record.by, *(name for name in names if name not in record.by)]
        prefer = _prefer(table, first, last=record.wins == "last")
        columns = ["study", *(column.name for column in (*keys, *filled))]
        self.statement = upsert(table, columns, replaced=names, prefer=prefer)
        self._each = record.each
        self._fields = [_field(record, column) for column in (*keys, *filled)]
        self._keys = len(keys)

    def rows(self, study: str, data: dict[str, Any]) -> list[Row]:
        """Return the rows of a line; empty if it is for other tables, or has no key, as when a study is cancelled.

        Args:
            study: Name of the study.
            data: Content of the line, with the journal's name as ``WRITER``.
        """
        if self._unless is not None and data.get(self._unless):
            return []
        if self._each is not None:
            return [(study, *self._values(data | item)) for item in data[self._each]]
        values = self._values(data)
        return [] if None in values[: self._keys] else [(study, *values)]

    def _values(self, data: dict[str, Any]) -> list[Any]:
        get = data.get
        return [
            None if (found := get(name, default)) is None and default is None else convert(found)
            for name, default, convert in self._fields
        ]


def _field(record: EventTable, column: Column[Any]) -> tuple[str, Any, Callable[[Any], Any]]:
    """Return the name of the field that fills a column, its default, and the conversion of its value."""
    source = column.info.get("source") or schema.EventField(record.event, column.name)
    name, *inner = source.path.split(".")
    known = {f.name: f for f in fields(record.event)}.get(name)
    default = MISSING if known is None else known.default
    if known is not None and known.default_factory is not MISSING:
        default = known.default_factory()
    convert = source.convert or _CONVERTERS[type(column.type)]

    def nested(value: Any) -> Any:
        for part in inner:
            value = (value or {}).get(part)
        return convert(value)

    return name, default, nested if inner else convert


def _comparable(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Order missing values, too; otherwise the row that is kept could depend on the order of arrival."""
    return func.coalesce(column, literal_column("''" if isinstance(column.type, String) else "-1"))


def _prefer(table: Table, columns: Sequence[str], *, last: bool) -> ColumnElement[bool]:
    """Prefer the row that sorts first or last by ``columns``; replace a known row without the first column."""
    offered = tuple_(*(_comparable(new(table, name)) for name in columns))
    known = tuple_(*(_comparable(table.c[name]) for name in columns))
    return or_(table.c[columns[0]].is_(None), offered > known if last else offered < known)


_WRITINGS: dict[str, tuple[_Writing, ...]] = {}
for _record in schema.EVENT_TABLES:
    _WRITINGS[_record.event.type] = (*_WRITINGS.get(_record.event.type, ()), _Writing(_record))
_OF_A_TRIAL = {record.event.type for record in schema.EVENT_TABLES if "trial" in record.event.field_names()}
_EPOCHS = upsert_all(schema.epochs, prefer=_prefer(schema.epochs, ("time", "seconds", "metrics_json"), last=False))
_ATTEMPT_KEYS = upsert(schema.attempts, ("study", "trial", "attempt"))


@dataclass
class Rows:
    """A batch of journal lines of one study, as rows.

    Attributes:
        study: Name of the study.
        metric: The objective.
        epochs: Rows for the table of epochs, in the order of its columns.
        others: Rows of all other events, by destination.
        attempts: (trial, attempt) of all epochs.
        touched: Trials that events other than epochs name.
        metrics: Names of all metrics in the epochs.
        parameters: Names of all hyperparameters in the starts.
        revision: The newest revision of the sweep; 0 if there is none.
        cancelled: Time at which the whole study was last cancelled, or None.
    """

    study: str
    metric: str
    epochs: list[Row] = field(default_factory=list)
    others: dict[_Writing, list[Row]] = field(default_factory=dict)
    attempts: set[tuple[int, int]] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    metrics: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    revision: int = 0
    cancelled: float | None = None

    @property
    def touched_trials(self) -> set[int]:
        """Trials whose derived columns must be recomputed."""
        return self.touched.union(trial for trial, _ in self.attempts)

    def add(self, writer: str, bodies: Sequence[bytes]) -> Tally:
        """Add the events of a journal's good lines.

        Args:
            writer: Name of the journal.
            bodies: JSON texts from :func:`cnn_sweep.journal.log.read_from`.
        """
        unknown = 0
        last: float | None = None
        for body, data in _parsed(bodies):
            if misfit(data) is not None:
                unknown += 1  # it stays in its journal
                continue
            time, kind = float(data["time"]), data["type"]
            if kind == "epoch":
                self._epoch(body, data, time)
            elif kind in _WRITINGS:
                data[schema.WRITER] = writer
                self._other(kind, data, time)
            if last is None or time > last:
                last = time
        return Tally(len(bodies), unknown, last)

    def write(self, connection: Connection) -> None:
        """Insert all rows, without derived columns."""
        run_many(connection, _EPOCHS, sorted(self.epochs))
        run_many(connection, _ATTEMPT_KEYS, [(self.study, *key) for key in sorted(self.attempts)])
        for writing, found in self.others.items():
            run_many(connection, writing.statement, found)

    def _epoch(self, body: bytes, data: dict[str, Any], time: float) -> None:
        metrics = data["metrics"]
        value = metric_value(metrics.get(self.metric))
        text = _copied(body, data) or to_json(metrics)
        trial, attempt = data["trial"], data["attempt"]
        row = (self.study, trial, attempt, data["epoch"], time, float(data["seconds"]))
        self.epochs.append((*row, value, text, 1))
        self.attempts.add((trial, attempt))
        self.metrics.update(metrics)

    def _other(self, kind: str, data: dict[str, Any], time: float) -> None:
        found = [(writing, writing.rows(self.study, data)) for writing in _WRITINGS[kind]]
        for writing, rows in found:  # only after all of them were converted without an error
            self.others.setdefault(writing, []).extend(rows)
        if kind == "start":
            self.parameters.update(data["params"])
        elif kind == "extend":
            self.revision = max(self.revision, data["revision"])
        elif kind == "cancel" and data.get("trial") is None:
            self.cancelled = max(self.cancelled or time, time)
        if kind in _OF_A_TRIAL and data.get("trial") is not None:
            self.touched.add(data["trial"])


@dataclass(frozen=True)
class Tally:
    """Counts of the events in part of a journal.

    Attributes:
        events: All events.
        unknown: Events that this version does not know.
        last_event: Time of the last event; None without events.
    """

    events: int
    unknown: int
    last_event: float | None


def _copied(body: bytes, data: dict[str, Any]) -> str | None:
    """Return the metrics of an epoch as they stand in its line, which is faster; None if they must be encoded again."""
    if len(data) != _EPOCH_FIELDS or next(reversed(data)) != "metrics" or not body.isascii():
        return None
    text = body[body.index(_METRICS) + len(_METRICS) : -1]
    return text.decode("ascii") if text.count(b'":') == len(data["metrics"]) else None  # no name occurs twice


def _parsed(bodies: Sequence[bytes]) -> Iterator[tuple[bytes, Any]]:
    """Yield JSON texts with their content; None for text that is not JSON."""
    for start in range(0, len(bodies), _TOGETHER):
        portion = bodies[start : start + _TOGETHER]
        try:
            found = json.loads(b"[%b]" % b",".join(portion))
        except (ValueError, RecursionError):
            found = [_parse(body) for body in portion]
        yield from zip(portion, found if len(found) == len(portion) else map(_parse, portion), strict=True)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
