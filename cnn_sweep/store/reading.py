"""A consistent view of the store for queries."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.filesystem import judge
from cnn_sweep.store import dialect, versions
from cnn_sweep.store.apply import check_layout, layout
from cnn_sweep.store.files import private_folder, store_file

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy import Connection

_WAIT_S = 30.0


class StoreReader:
    """The store as it is read: every query opens it for itself, unless it stands in the reader's ``with`` block.

    All queries within the block see the same moment. Where file locking is reliable, mergers wait for their next turn
    until the block ends; where it is not, a private copy is made once and read.

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
            EnvironmentFault: There is no store, or it is damaged, locked or unreadable.
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
        """Close the store at the end of the outermost block; say it if the database failed within."""
        self._depth -= 1
        if not self._depth:
            self._connection = None
            self._open.close()
        if isinstance(error, DBAPIError | dialect.DamageError | UnicodeError):
            raise _fault(store_file(self.results), error) from error

    def _connected(self, stack: contextlib.ExitStack) -> Connection:
        try:
            engine = dialect.open_reading(readable_file(self.results, stack), wait_s=_WAIT_S)
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            connection.begin()
            check_layout(layout(connection))
        except (OSError, DBAPIError, dialect.DamageError, UnicodeError) as error:
            raise _fault(store_file(self.results), error) from error
        return connection


def readable_file(results: Path, stack: contextlib.ExitStack) -> Path:
    """Return the file to read: the store itself, or a copy that lives as long as ``stack``."""
    file = store_file(results)
    if not file.is_file():
        raise EnvironmentFault(f"{file}: there is no store; `cnn-sweep store merge` makes it")
    if judge(results).honest:
        return file
    copy = stack.enter_context(private_folder()) / file.name
    if not versions.fetch_first(results, copy):
        shutil.copyfile(file, copy)  # of a time when locks were believed
    return copy


def _fault(file: Path, error: Exception) -> EnvironmentFault:
    if dialect.is_locked(error):
        return EnvironmentFault(f"{file}: locked by another program for {_WAIT_S:.0f} s; try again")
    reason = dialect.reason(error)
    return EnvironmentFault(f"{file}: cannot be read: {reason}; `cnn-sweep store rebuild` makes it anew")
