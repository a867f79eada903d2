"""Merging journals into the store, as workers do now and then, and every command before it reads.

Where file locking is reliable, lines go straight into the published file; elsewhere
:mod:`cnn_sweep.store.published` merges into a copy.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.journal.filesystem import judge, sync_path
from cnn_sweep.store import sqlite
from cnn_sweep.store.files import BUSY, LOCKED, UNFINISHED, lease, set_aside, store_file
from cnn_sweep.store.ingest import Applied, apply_new
from cnn_sweep.store.published import abandon, merge_and_publish
from cnn_sweep.store.schema import check_layout, create_tables, ensure_tables, layout
from cnn_sweep.store.sqlite import DamageError, reason

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_REBUILDING = ".sweeps.rebuilding"
_DAMAGE = (DBAPIError, sqlite.DamageError, UnicodeError)
# A worker spends no more than about this on one merge; what is left is for the next one. In seconds.
_WORK_S = 5.0


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Attributes:
        events: Events that were read.
        seconds: How long it took.
        skipped: Why the store does not have all lines now; None if it does.
        bad_lines: Damaged lines that were found in this merge.
        notes: What else the user should know.
    """

    events: int
    seconds: float
    skipped: str | None
    bad_lines: int
    notes: tuple[str, ...] = ()


def merge(results: Path, *, wait_s: float = 0.0) -> MergeReport:
    """Take new journal lines into the store.

    A fault of the store raises nothing; ``skipped`` names it. A store that is damaged or has another layout is set
    aside and rebuilt.

    Args:
        results: Root of the studies.
        wait_s: How long to wait for another merge to end, in seconds. With 0, as in a worker, a long merge also stops
            after a few seconds, and the next one continues.
    """
    return _run(results, wait_s=wait_s, anew=False)


def rebuild(results: Path, *, wait_s: float = 30.0) -> MergeReport:
    """Rebuild the store from the journals alone; arguments as for :func:`merge`."""
    return _run(results, wait_s=wait_s, anew=True)


def _run(results: Path, *, wait_s: float, anew: bool) -> MergeReport:
    began = time.monotonic()
    if not results.is_dir():
        return MergeReport(0, 0.0, None, 0)
    applied, skipped = Applied(), None
    try:
        applied, skipped = _dispatch(results, wait_s=wait_s, anew=anew)
    except (OSError, DBAPIError, DamageError, UnicodeError) as error:
        skipped = reason(error)
    for note in applied.notes:
        log.info("%s", note)
    return MergeReport(applied.events, time.monotonic() - began, skipped, applied.bad_lines, tuple(applied.notes))


def _dispatch(results: Path, *, wait_s: float, anew: bool) -> tuple[Applied, str | None]:
    work_s = math.inf if wait_s > 0 or anew else _WORK_S
    if judge(results).honest:
        if anew:
            return _rebuild_in_place(results, wait_s=wait_s)
        return _merge_in_place(results, wait_s=wait_s, work_s=work_s)
    return merge_and_publish(results, urgent=wait_s > 0 or anew, work_s=work_s, anew=anew)


def _merge_in_place(results: Path, *, wait_s: float, work_s: float) -> tuple[Applied, str | None]:
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
            return applied, _merge_batches(results, applied, deadline, work_s)
        except _DAMAGE as error:
            if not sqlite.is_damage(error):
                raise
            applied.notes.append(_aside(results, sqlite.reason(error)))
        return applied, _merge_batches(results, applied, deadline, work_s)


def _rebuild_in_place(results: Path, *, wait_s: float) -> tuple[Applied, str | None]:
    """Build a new store beside the published file, then replace that file; arguments as above."""
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


def _merge_batches(results: Path, applied: Applied, deadline: float, work_s: float) -> str | None:
    engine = sqlite.open_shared(store_file(results), wait_s=max(deadline - time.monotonic(), 0.0))
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
        if sqlite.is_locked(error):
            return LOCKED
        raise
    finally:
        engine.dispose()


def _build(results: Path, fresh: Path, applied: Applied) -> None:
    engine = sqlite.open_private(fresh)
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
    """Replace the store by another while no process reads or writes it.

    Beginning a transaction also rolls back what a killed merge left unfinished: its rollback journal must be gone
    before another file gets the name.
    """
    file = store_file(results)
    if not file.exists():
        fresh.replace(file)
        sync_path(results)
        return None
    engine = sqlite.open_shared(file, wait_s=max(deadline - time.monotonic(), 0.0))
    try:
        with engine.begin() as connection:
            check_layout(layout(connection))
            fresh.replace(file)
    except _DAMAGE as error:
        if sqlite.is_locked(error):
            return LOCKED
        if not sqlite.is_damage(error):
            raise
        if fresh.exists():  # else it is the old file that fails once more, on being let go
            applied.notes.append(_aside(results, sqlite.reason(error)))
            fresh.replace(file)
    finally:
        engine.dispose()
    sync_path(results)
    return None


def _aside(results: Path, reason: str) -> str:
    target = set_aside(store_file(results), reason)
    return f"the store was damaged ({reason}); it was set aside as {target.name} and rebuilt"
