"""SQLite: opens files, inserts and updates rows, converts values, and lists the contents of a file."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from sqlalchemy import URL, create_engine, event, func
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from cnn_sweep.journal.filesystem import mode_in
from cnn_sweep.sweep.spec.outcome_constraints import outcome_constraints, total_violation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import ColumnElement, Connection, Engine, Insert, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

_CACHE_KIB = 64 << 10
# Created once, because `json.dumps` would create an encoder for each line.
_JSON = json.JSONEncoder(separators=(",", ":")).encode
_SORTED_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_LARGEST = 1 << 63  # integer columns hold only smaller values
# Our statements are fixed and their tables existed when the store was created, so a missing table or column is damage.
_DAMAGED = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_NOTADB,
}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
# Begins a transaction that excludes readers, too, so that its commit never waits for one.
_ALONE = "BEGIN EXCLUSIVE"
_READING = "BEGIN DEFERRED"


def open_shared(path: Path, *, wait_s: float) -> Engine:
    """Open a database file that other processes share, for exclusive transactions.

    Args:
        path: The file; created if missing.
        wait_s: Seconds to wait for locks.
    """
    _create(path)
    pragmas = (*_rollback(path), "synchronous=FULL")
    return _engine(path, begin=_ALONE, wait_s=wait_s, pragmas=pragmas)


def open_private(path: Path) -> Engine:
    """Open a database file that only this process uses, and that is discarded after any error."""
    _create(path)
    return _engine(path, begin=_ALONE, wait_s=0.0, pragmas=("synchronous=OFF", "journal_mode=MEMORY"))


def open_reading(path: Path, *, wait_s: float) -> Engine:
    """Open a database file for queries.

    It is not opened read-only, because the first reader after a killed writer must roll back its transaction.
    """
    pragmas = (*_rollback(path), "query_only=ON")
    return _engine(path, begin=_READING, wait_s=wait_s, pragmas=pragmas)


def _rollback(path: Path) -> tuple[str, ...]:
    """Return the pragmas of how a rollback journal ends: emptied where only its owner could remove it.

    What a killed process left is rolled back by the first read, before a mode of the journal can be set. In the locking
    mode EXCLUSIVE, SQLite then overwrites the journal's header rather than remove the file.
    """
    if not path.parent.stat().st_mode & stat.S_ISVTX:
        return ("journal_mode=DELETE",)
    return ("locking_mode=EXCLUSIVE", "schema_version", "locking_mode=NORMAL", "journal_mode=TRUNCATE")


def open_published(path: Path) -> Engine:
    """Open a database file without locks, since it is never changed, only replaced."""
    return _engine(path, begin=_READING, wait_s=0.0, pragmas=("query_only=ON",), is_immutable=True)


def _create(path: Path) -> None:
    """Create a missing file for its owner alone, or for a group that shares the folder; SQLite's own mode is 0644."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, mode_in(path.parent) & 0o666))


def _engine(path: Path, *, begin: str, wait_s: float, pragmas: tuple[str, ...], is_immutable: bool = False) -> Engine:
    # The current folder may be another one at the next call.
    return _kept_engine(path.absolute(), begin, wait_s, pragmas, is_immutable=is_immutable)


# An engine keeps the SQL of its statements, which takes half of a merge's time to write. It keeps no connection.
@lru_cache(maxsize=8)
def _kept_engine(path: Path, begin: str, wait_s: float, pragmas: tuple[str, ...], *, is_immutable: bool) -> Engine:
    url = URL.create("sqlite+pysqlite", database=str(path))
    if is_immutable:
        query = {"immutable": "1", "mode": "ro", "uri": "true"}
        url = URL.create("sqlite+pysqlite", database=f"file:{quote(str(path))}", query=query)
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"timeout": wait_s, "isolation_level": None},
    )

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cast("sqlite3.Connection", connection).create_aggregate("exact_mean", 1, _ExactMean)
        cast("sqlite3.Connection", connection).create_function("violation", 4, _violation, deterministic=True)
        cursor = connection.cursor()
        for pragma in (*pragmas, "temp_store=MEMORY", f"cache_size=-{_CACHE_KIB}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


class _ExactMean:
    """The SQL aggregate ``exact_mean``: ``fmean``, which neither the order of rows nor SQLite's version changes."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: Any) -> None:
        if value is not None:
            self._values.append(value)

    def finalize(self) -> Any:
        return fmean(self._values) if self._values else None


def _violation(texts: str, metrics: str | None, parameters: int | None, seconds: float | None) -> float:
    """The SQL function ``violation``: the total violation of constraints, given as JSON, by a trial's result."""
    measured = json.loads(metrics or "{}") | {"parameters": parameters, "seconds": seconds}
    numbers = {name: value if isinstance(value, int | float) else None for name, value in measured.items()}
    return total_violation(one.value(numbers) for one in outcome_constraints(tuple(json.loads(texts))))


class DamageError(Exception):
    """A value in the store differs from what was written, or its layout is another one."""


def to_integer(value: Any) -> int:
    """Return a journal's integer for the store.

    Raises:
        ValueError: It is not an integer, or too large for a column.
    """
    if type(value) is int and -_LARGEST <= value < _LARGEST:
        return value
    raise ValueError(value)


def to_number(value: Any) -> float:
    """Return a journal's number for the store.

    Raises:
        ValueError: It is not a number.
    """
    if type(value) is float or type(value) is int:
        return float(value)
    raise ValueError(value)


def to_flag(value: Any) -> int:
    """Return a journal's boolean as 0 or 1.

    Raises:
        ValueError: It is not a boolean.
    """
    if type(value) is bool:
        return int(value)
    raise ValueError(value)


def to_text(value: Any) -> str:
    """Return a journal's text for the store; file names may hold bytes that are not characters.

    Raises:
        TypeError: It is not text.
    """
    if not isinstance(value, str):
        raise TypeError(value)
    if value.isascii() and "\0" not in value:  # the usual case
        return value
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")


def to_json(data: Any) -> str:
    """Return plain data as JSON, in the form that the store uses; keys keep their order."""
    return _JSON(data)


def to_sorted_json(value: Any) -> str:
    """Return the JSON form of an object, with its keys sorted, so that equal objects have equal texts.

    Raises:
        TypeError: It is not an object.
    """
    if isinstance(value, dict):
        return _SORTED_JSON(value)
    raise TypeError(value)


def read_count(value: Any) -> int:
    """Return a count from the store.

    Raises:
        DamageError: It is not a count.
    """
    if type(value) is int and value >= 0:
        return value
    raise DamageError(f"{value!r} where a count should be")


def read_time(value: Any) -> float | None:
    """Return a time from the store, or None.

    Raises:
        DamageError: It is not a number.
    """
    if value is None or isinstance(value, float):
        return value
    raise DamageError(f"{value!r} where a time should be")


def read_names(value: Any) -> list[str]:
    """Return a list of names that the store holds as JSON.

    Raises:
        DamageError: It is not such a list.
    """
    found = _from_json(value)
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    raise DamageError(f"{value!r} where names should be")


def read_numbers(value: Any) -> list[int]:
    """Return a list of integers that the store holds as JSON.

    Raises:
        DamageError: It is not such a list.
    """
    found = _from_json(value)
    if isinstance(found, list) and all(type(number) is int for number in found):
        return found
    raise DamageError(f"{value!r} where numbers should be")


def read_mapping(value: Any) -> dict[str, Any]:
    """Return an object that the store holds as JSON.

    Raises:
        DamageError: It is not such an object.
    """
    found = _from_json(value)
    if isinstance(found, dict):
        return found
    raise DamageError(f"{value!r} where an object should be")


def _from_json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError) as error:
        raise DamageError(f"{value!r} where JSON should be") from error


def is_damage(error: Exception) -> bool:
    """Return whether an error means that the file is damaged."""
    return isinstance(error, DamageError | UnicodeError) or code(error) in _DAMAGED or "Could not decode" in str(error)


def reason(error: Exception) -> str:
    """Return the database's own message, without the statement, or the file system's."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]


def is_locked(error: Exception) -> bool:
    """Return whether an error means that another program uses the database."""
    return code(error) in _LOCKED


def code(error: Exception) -> int | None:
    """Return SQLite's primary error code; None if the error is not SQLite's."""
    original = error.orig if isinstance(error, DBAPIError) else error
    number: int | None = getattr(original, "sqlite_errorcode", None)
    return None if number is None else number & 0xFF


def integrity(connection: Connection) -> list[str]:
    """Return the problems that SQLite finds in its file."""
    rows = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars()
    return [str(row) for row in rows if row != "ok"]


def upsert(
    table: Table,
    columns: Sequence[str],
    *,
    replaced: Sequence[str] = (),
    prefer: ColumnElement[bool] | None = None,
) -> Insert:
    """Return an insert of ``columns`` that updates existing rows or leaves them unchanged.

    Args:
        table: The table.
        columns: Columns that are inserted.
        replaced: Columns that get the new value if the key exists.
        prefer: Condition for taking the new row, in terms of ``table`` and :func:`new`; by default, it is always taken.
    """
    statement = insert(table).values(dict.fromkeys(columns))
    keys = [column.name for column in table.primary_key]
    if not replaced:
        return statement.on_conflict_do_nothing(index_elements=keys)
    values = {name: statement.excluded[name] for name in replaced}
    return statement.on_conflict_do_update(index_elements=keys, set_=values, where=prefer)


def upsert_all(table: Table, *, prefer: ColumnElement[bool] | None = None) -> Insert:
    """Return an insert of whole rows that replaces those whose keys exist; see :func:`upsert`."""
    columns = [column.name for column in table.columns]
    others = [column.name for column in table.columns if not column.primary_key]
    return upsert(table, columns, replaced=others, prefer=prefer)


def upsert_from(table: Table, query: Any, *, replaced: Sequence[str]) -> Insert:
    """Return an insert of a query's rows that replaces columns where the key exists."""
    names = [column.name for column in query.selected_columns]
    statement = insert(table).from_select(names, query)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in replaced}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)


def new(table: Table, name: str) -> ColumnElement[Any]:
    """Return a column of the row that an insert would add."""
    column: ColumnElement[Any] = insert(table).excluded[name]
    return column


def run_many(connection: Connection, statement: Insert, rows: Sequence[tuple[Any, ...]]) -> None:
    """Execute an insert for many rows, whose values are in the order of its columns."""
    if rows:
        # The driver accepts tuples; a mapping for each row would take as long as the insert itself.
        connection.exec_driver_sql(_compiled(statement), list(rows))


@lru_cache(maxsize=64)
def _compiled(statement: Insert) -> str:
    return str(statement.compile(dialect=sqlite_dialect()))


def rounded(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Round a sum to microseconds: versions of SQLite differ in the last digits of sums."""
    return func.round(value, 6)


def definitions(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return the definitions of all tables and indexes, by name."""
    rows = connection.exec_driver_sql(
        "SELECT name, type, tbl_name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL"
    )
    return {str(name): tuple(map(str, rest)) for name, *rest in rows}


def views(connection: Connection) -> dict[str, str]:
    """Return the names and definitions of all views."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    return {str(name): str(sql) for name, sql in rows}


def tables(connection: Connection) -> set[str]:
    """Return the names of all tables."""
    rows = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {str(name) for (name,) in rows}
