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
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

_WAIT_S = 30.0


@contextlib.contextmanager
def open_store(results: Path) -> Iterator[Connection]:
    """Open the store for reading; all queries in the context see the same moment.

    Where locks are honest, mergers wait for their next turn meanwhile; where they lie, a private copy is read.

    Raises:
        EnvironmentFault: If there is no store, or it is damaged, locked or unreadable.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = readable_file(results, stack)
        except OSError as error:
            raise _fault(store_file(results), error) from error
        engine = dialect.open_reading(file, wait_s=_WAIT_S)
        stack.callback(engine.dispose)
        try:
            with engine.begin() as connection:
                check_layout(layout(connection))
                yield connection
        except (DBAPIError, dialect.DamageError, UnicodeError) as error:
            raise _fault(store_file(results), error) from error


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
