"""Reading the store: a consistent snapshot for queries, and users' own SQL, which is read-only."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy.exc import DBAPIError

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.journal.filesystem import judge
from cnn_sweep.store import sqlite
from cnn_sweep.store.files import private_folder, store_file
from cnn_sweep.store.ingest import Applied
from cnn_sweep.store.merge import build
from cnn_sweep.store.published import fetch_first
from cnn_sweep.store.schema import check_layout, layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_WAIT_S = 30.0
_INTERRUPT_EVERY_S: Final = 0.05  # a query that has not begun yet cannot be interrupted
_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# Functions of SQLite that reach beyond the database.
_FORBIDDEN: Final = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
_FAULTS: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


class StoreReader:
    """Opens the store for queries: each one separately, unless it runs inside the reader's ``with`` block.

    All queries in the block see the same snapshot. Where file locking is reliable, merges are put off until the block
    ends; elsewhere a private copy is made once and read.

    Example:
        ``with StoreReader(results) as connection: ...``; blocks may be nested.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self._depth = 0
        self._open = contextlib.ExitStack()
        self._connection: Connection | None = None

    def __enter__(self) -> Connection:
        """Open the store, if it is not open already.

        Raises:
            EnvironmentFault: There is no store, or it is damaged or unreadable.
        """
        if self._connection is None:
            with contextlib.ExitStack() as stack:
                self._connection = self._connected(stack)
                self._open = stack.pop_all()
        self._depth += 1
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store at the end of the outermost block.

        Raises:
            EnvironmentFault: The database failed within the block.
        """
        self._depth -= 1
        if not self._depth:
            self._connection = None
            self._open.close()
        if isinstance(error, DBAPIError | sqlite.DamageError | UnicodeError):
            raise _fault(store_file(self.results), error) from error

    def _connected(self, stack: contextlib.ExitStack) -> Connection:
        try:
            try:
                return _snapshot(readable_file(self.results, stack), stack)
            except DBAPIError as error:
                if not sqlite.is_locked(error):
                    raise
            return _snapshot(_store_of_journals(self.results, stack), stack)
        except (OSError, DBAPIError, sqlite.DamageError, UnicodeError) as error:
            raise _fault(store_file(self.results), error) from error


def readable_file(results: Path, stack: contextlib.ExitStack) -> Path:
    """Return the file to read: the store itself, or a copy that lives as long as ``stack``."""
    file = store_file(results)
    if not file.is_file():
        raise EnvironmentFault(f"{file}: there is no store; `cnn-sweep store merge` creates it")
    if judge(results).honest:
        return file
    copy = stack.enter_context(private_folder()) / file.name
    if not fetch_first(results, copy):
        shutil.copyfile(file, copy)  # from when file locking was thought reliable
    return copy


def _snapshot(file: Path, stack: contextlib.ExitStack) -> Connection:
    engine = sqlite.open_reading(file, wait_s=_WAIT_S)
    stack.callback(engine.dispose)
    connection = stack.enter_context(engine.connect())
    connection.begin()
    check_layout(layout(connection))
    return connection


def _store_of_journals(results: Path, stack: contextlib.ExitStack) -> Path:
    """Build a store for this process alone; the program that locks the other one may be suspended with its job."""
    log.warning("%s is locked by another program; reading the journals instead", store_file(results))
    file = stack.enter_context(private_folder()) / "journals.db"
    build(results, file, Applied())
    return file


def _fault(file: Path, error: Exception) -> EnvironmentFault:
    reason = sqlite.reason(error)
    return EnvironmentFault(f"{file}: cannot be read: {reason}; `cnn-sweep store rebuild` rebuilds it")


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
            try:
                connection, tables = _opened(file, stack)
            except sqlite3.Error as error:
                if not sqlite.is_locked(error):
                    raise
                connection, tables = _opened(_store_of_journals(results, stack), stack)
        except (OSError, sqlite3.Error, DBAPIError) as error:
            raise EnvironmentFault(f"{store_file(results)}: cannot be read: {error}") from error
        connection.set_authorizer(_authorize)
        # In a thread, because Python handles signals only between steps of its own, and a query may run for ever.
        with ThreadPoolExecutor(1, "query") as thread:
            answer = thread.submit(_answer, connection, results, statement, tables)
            try:
                return answer.result()
            finally:
                while not answer.done():
                    connection.interrupt()
                    wait([answer], _INTERRUPT_EVERY_S)


def _opened(file: Path, stack: contextlib.ExitStack) -> tuple[sqlite3.Connection, list[str]]:
    connection = sqlite3.connect(
        f"file:{quote(str(file.resolve()))}?mode=ro", uri=True, timeout=_WAIT_S, check_same_thread=False
    )
    stack.callback(connection.close)
    connection.execute("PRAGMA query_only=ON")
    return connection, _tables(connection)


def _answer(
    connection: sqlite3.Connection, results: Path, statement: str, tables: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError, UnicodeError) as error:
        if sqlite.code(error) in _FAULTS or sqlite.is_locked(error):
            raise EnvironmentFault(f"{store_file(results)}: cannot be read: {error}") from error
        reason = "this command only reads" if "authoriz" in str(error) or "prohibited" in str(error) else str(error)
        quoted = "; a name with a hyphen needs double quotes" if 'near "-"' in reason else ""
        raise InputError(f"sql: {reason}{quoted}; tables and views: {', '.join(tables)}") from None
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
