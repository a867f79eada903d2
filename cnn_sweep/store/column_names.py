"""Names of a leaderboard's columns, read within a few milliseconds for the completion of commands."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cnn_sweep.store.files import store_file

if TYPE_CHECKING:
    from pathlib import Path

# Columns of a trial's row that a leaderboard shows only on request.
MORE: Final = ("configuration", "repeat", "seed", "attempts", "started", "ended", "cause", "message", "threads")
_WAIT_S = 0.1


def leaderboard_columns(results: Path, study: str) -> tuple[str, ...]:
    """Return the names of a study's columns as of the last merge; none if the store cannot be read.

    Where file locking is unreliable, this may read a store that is being replaced, and then finds no names.
    """
    file = store_file(results)
    try:
        with_name = f"file:{quote(str(file.resolve()))}?mode=ro"
        connection = sqlite3.connect(with_name, uri=True, timeout=_WAIT_S)
        try:
            rows = connection.execute("SELECT name FROM pragma_table_info(?)", (f"leaderboard_{study}",)).fetchall()
        finally:
            connection.close()
    except (OSError, sqlite3.Error, UnicodeError):
        return ()
    return (*(str(name) for (name,) in rows), *MORE) if rows else ()
