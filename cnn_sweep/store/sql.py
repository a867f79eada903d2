"""Users' own questions to the store: SQL that can read and nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.store import dialect
from cnn_sweep.store.files import store_file
from cnn_sweep.store.reading import readable_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WAIT_S = 30.0
_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# Functions of SQLite that reach beyond the database.
_FORBIDDEN: Final = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
_FAULTS: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


def query(results: Path, statement: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Answer one SELECT on the merged store.

    The file is opened read-only, the connection refuses to write, and SQLite asks before each step of a statement's
    plan: anything but reading tables and calling functions is refused.

    Args:
        results: Root of all studies.
        statement: SQL.

    Returns:
        Names of the columns, all different, and the rows.

    Raises:
        InputError: The statement is wrong, or it does more than read.
        EnvironmentFault: The store cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = readable_file(results, stack)
            connection = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True, timeout=_WAIT_S)
            stack.callback(connection.close)
            connection.execute("PRAGMA query_only=ON")
            tables = _tables(connection)
        except (OSError, sqlite3.Error) as error:
            raise EnvironmentFault(f"{store_file(results)}: cannot be read: {error}") from error
        connection.set_authorizer(_authorize)
        return _answer(connection, results, statement, tables)


def _answer(
    connection: sqlite3.Connection, results: Path, statement: str, tables: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError, UnicodeError) as error:
        if dialect.code(error) in _FAULTS or dialect.is_locked(error):
            raise EnvironmentFault(f"{store_file(results)}: cannot be read: {error}") from error
        reason = "this command only reads" if "authoriz" in str(error) or "prohibited" in str(error) else str(error)
        raise InputError(f"sql: {reason}; tables and views: {', '.join(tables)}") from None
    if cursor.description is None:
        raise InputError("sql: there is no SELECT in the statement")
    return _distinct([column[0] for column in cursor.description]), rows


def _authorize(action: int, _: str | None, second: str | None, *__: str | None) -> int:
    forbidden = action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _FORBIDDEN
    return sqlite3.SQLITE_OK if action in _ALLOWED and not forbidden else sqlite3.SQLITE_DENY


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type DESC, name")
    return [str(name) for (name,) in rows]


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Number the columns whose names are taken."""
    found: dict[str, None] = {}
    for name in names:
        candidate, count = name, 1
        while candidate in found:
            count += 1
            candidate = f"{name}_{count}"
        found[candidate] = None
    return tuple(found)
