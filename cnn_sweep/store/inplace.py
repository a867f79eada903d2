"""Merging where locks are honest: straight into the published file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.store import dialect
from cnn_sweep.store.apply import apply_new, check_layout, create_tables, empty, layout
from cnn_sweep.store.batch import Applied
from cnn_sweep.store.files import BUSY, LOCKED, UNFINISHED, lease, set_aside, store_file
from cnn_sweep.store.versions import abandon

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


def merge_in_place(results: Path, *, wait_s: float, work_s: float, anew: bool) -> tuple[Applied, str | None]:
    """Apply new lines in the published file; return what was done and why not all was.

    Args:
        results: Root of the studies.
        wait_s: How long to wait for locks, in seconds.
        work_s: After how many seconds no further batch is begun.
        anew: Forget everything first.

    Raises:
        OSError: If the folder cannot be written to.
        DBAPIError: If the database fails.
    """
    deadline = time.monotonic() + wait_s
    applied = Applied()
    with lease(results, wait_s=wait_s) as granted:
        if not granted:
            return applied, BUSY
        abandon(results)
        try:
            return applied, _merge(results, applied, deadline, work_s, anew=anew)
        except (DBAPIError, dialect.DamageError, UnicodeError) as error:
            if not dialect.is_damage(error):
                raise
            applied.notes.append(_aside(results, dialect.reason(error)))
        return applied, _merge(results, applied, deadline, work_s, anew=anew)


def _merge(results: Path, applied: Applied, deadline: float, work_s: float, *, anew: bool) -> str | None:
    engine = dialect.open_shared(store_file(results), wait_s=max(deadline - time.monotonic(), 0.0))
    began = time.monotonic()
    try:
        if anew:
            _anew(engine, results, applied)
            return None
        while True:
            applied.add(_batch(engine, results))
            if not applied.more:
                return None
            if time.monotonic() - began >= work_s:
                return UNFINISHED
    except DBAPIError as error:
        if dialect.is_locked(error):
            return LOCKED
        raise
    finally:
        engine.dispose()


def _batch(engine: Engine, results: Path) -> Applied:
    with engine.begin() as connection:
        found = layout(connection)
        check_layout(found)
        if found is None:
            create_tables(connection)
        return apply_new(connection, results)


def _anew(engine: Engine, results: Path, applied: Applied) -> None:
    """Forget all and read everything in one transaction: a reader sees the old store or the new one."""
    with engine.begin() as connection:
        check_layout(layout(connection))
        empty(connection)
        create_tables(connection)
        applied.more = True
        while applied.more:
            applied.add(apply_new(connection, results))


def _aside(results: Path, reason: str) -> str:
    target = set_aside(store_file(results), reason)
    return f"the store was damaged ({reason}); it was set aside as {target.name} and is made anew"
