"""Names of a leaderboard's columns and numbers of trials, read within milliseconds for the completion of commands."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cnn_sweep.store.files import store_file

if TYPE_CHECKING:
    from pathlib import Path

# Columns of a trial's row that a leaderboard shows only on request.
MISSING_EPOCHS: Final = "missing_epochs"
VIOLATION: Final = "violation"  # of constraints on what trials measure, in studies that have some
MORE: Final = (
    *("configuration", "repeat", "fold", "seed", "attempts", "started", "ended", "cause", "message", "threads", "user"),
    MISSING_EPOCHS,
)
# Empty ones are not numbers either.
TEXTS: Final = frozenset({"state", "configuration", "cause", "message", "user", "image", "predicted", "true"})
_WAIT_S = 0.1


def leaderboard_columns(results: Path, study: str) -> tuple[str, ...]:
    """Return the names of a study's columns as of the last merge; none if the store cannot be read.

    Where file locking is unreliable, this may read a store that is being replaced, and then finds no names.
    """
    rows = _query(results, "SELECT name FROM pragma_table_info(?)", f"leaderboard_{study}")
    return (*map(str, rows), *MORE) if rows else ()


def trial_numbers(results: Path, study: str) -> tuple[str, ...]:
    """Return the numbers of a study's trials as of the last merge; none if the store cannot be read, as above."""
    return tuple(map(str, _query(results, "SELECT trial FROM trials WHERE study = ? ORDER BY trial", study)))


def _query(results: Path, query: str, name: str) -> list[Any]:
    """Return the first value of each row; none if the store cannot be read."""
    file = store_file(results)
    try:
        with_name = f"file:{quote(str(file.resolve()))}?mode=ro"
        connection = sqlite3.connect(with_name, uri=True, timeout=_WAIT_S)
        try:
            return [value for (value,) in connection.execute(query, (name,))]
        finally:
            connection.close()
    except (OSError, sqlite3.Error, UnicodeError):
        return []
