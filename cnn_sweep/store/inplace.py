"""Merging where locks are honest: straight into the published file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.journal.durable import sync_path
from cnn_sweep.store import dialect
from cnn_sweep.store.apply import apply_new, check_layout, create_tables, ensure_tables, layout
from cnn_sweep.store.batch import Applied
from cnn_sweep.store.files import BUSY, LOCKED, UNFINISHED, lease, set_aside, store_file
from cnn_sweep.store.versions import abandon

if TYPE_CHECKING:
    from pathlib import Path

_REBUILDING = ".sweeps.rebuilding"
_DAMAGE = (DBAPIError, dialect.DamageError, UnicodeError)


def merge_in_place(results: Path, *, wait_s: float, work_s: float) -> tuple[Applied, str | None]:
    """Apply new lines in the published file; return what was done and why not all was.

    Args:
        results: Root of the studies.
        wait_s: How long to wait for locks, in seconds.
        work_s: After how many seconds no further batch is begun.

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
            return applied, _merge(results, applied, deadline, work_s)
        except _DAMAGE as error:
            if not dialect.is_damage(error):
                raise
            applied.notes.append(_aside(results, dialect.reason(error)))
        return applied, _merge(results, applied, deadline, work_s)


def rebuild_in_place(results: Path, *, wait_s: float) -> tuple[Applied, str | None]:
    """Make the store anew beside the published file and let it take its place; arguments as above."""
    deadline = time.monotonic() + wait_s
    applied = Applied()
    with lease(results, wait_s=wait_s) as granted:
        if not granted:
            return applied, BUSY
        abandon(results)
        fresh = results / _REBUILDING
        fresh.unlink(missing_ok=True)  # of a rebuild that was killed
        try:
            _build(results, fresh, applied)
            return applied, _replace(results, fresh, applied, deadline)
        finally:
            fresh.unlink(missing_ok=True)


def _merge(results: Path, applied: Applied, deadline: float, work_s: float) -> str | None:
    engine = dialect.open_shared(store_file(results), wait_s=max(deadline - time.monotonic(), 0.0))
    began = time.monotonic()
    try:
        while True:
            with engine.begin() as connection:
                ensure_tables(connection)
                applied.add(apply_new(connection, results))
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


def _build(results: Path, fresh: Path, applied: Applied) -> None:
    engine = dialect.open_private(fresh)
    try:
        with engine.begin() as connection:
            create_tables(connection)
            applied.more = True
            while applied.more:
                applied.add(apply_new(connection, results))
    finally:
        engine.dispose()
    sync_path(fresh)


def _replace(results: Path, fresh: Path, applied: Applied, deadline: float) -> str | None:
    """Put a store in the place of another that nobody reads or writes at that moment.

    Whoever begins a transaction also undoes what a killed merger left unfinished: its journal must not be
    there any more when another file gets the name.
    """
    file = store_file(results)
    if not file.exists():
        fresh.replace(file)
        sync_path(results)
        return None
    engine = dialect.open_shared(file, wait_s=max(deadline - time.monotonic(), 0.0))
    try:
        with engine.begin() as connection:
            check_layout(layout(connection))
            fresh.replace(file)
    except _DAMAGE as error:
        if dialect.is_locked(error):
            return LOCKED
        if not dialect.is_damage(error):
            raise
        if fresh.exists():  # else it is the old file that fails once more, on being let go
            applied.notes.append(_aside(results, dialect.reason(error)))
            fresh.replace(file)
    finally:
        engine.dispose()
    sync_path(results)
    return None


def _aside(results: Path, reason: str) -> str:
    target = set_aside(store_file(results), reason)
    return f"the store was damaged ({reason}); it was set aside as {target.name} and is made anew"
