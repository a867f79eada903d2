"""Merges journals into the store. Workers do so occasionally, and commands before they read.

If file locking is reliable, lines are added to the published file itself; otherwise,
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
from cnn_sweep.journal.sharing import shared_modes
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
# A worker spends about this many seconds on one merge at most; the next merge reads the remaining lines.
_WORK_S = 5.0


@dataclass(frozen=True)
class MergeReport:
    """Result of a merge.

    Attributes:
        events: Number of events read.
        seconds: Duration of the merge.
        skipped: Why the store lacks some lines; None if it has all.
        bad_lines: Number of damaged lines found in this merge.
        notes: Remarks for the user.
    """

    events: int
    seconds: float
    skipped: str | None
    bad_lines: int
    notes: tuple[str, ...] = ()


def merge(results: Path, *, wait_s: float = 0.0) -> MergeReport:
    """Add new journal lines to the store.

    A fault of the store raises no exception; ``skipped`` describes it. A store that is damaged or has another layout is
    set aside and rebuilt.

    Args:
        results: Root of the studies.
        wait_s: Seconds to wait for another merge to end. With 0, as in a worker, a long merge also stops after a few
            seconds, and the next one continues.
    """
    return _run(results, wait_s=wait_s, anew=False)


def rebuild(results: Path, *, wait_s: float = 30.0) -> MergeReport:
    """Rebuild the store from the journals alone; for the arguments, see :func:`merge`."""
    return _run(results, wait_s=wait_s, anew=True)


def _run(results: Path, *, wait_s: float, anew: bool) -> MergeReport:
    began = time.monotonic()
    if not results.is_dir():
        return MergeReport(0, 0.0, None, 0)
    applied, skipped = Applied(), None
    try:
        with shared_modes(results):
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
    """Apply new lines in the published file; return the result, and why lines are left, if any.

    Args:
        results: Root of the studies.
        wait_s: Seconds to wait for locks.
        work_s: Seconds after which no further batch is begun.

    Raises:
        OSError: The folder cannot be written.
        DBAPIError: The database fails.
    """
    deadline = time.monotonic() + wait_s
    applied = Applied()
    with lease(results, wait_s=wait_s) as granted:
        if not granted:
            return applied, BUSY
        abandon(results)
        (results / _REBUILDING).unlink(missing_ok=True)  # left by a rebuild that was killed
        try:
            return applied, _merge_batches(results, applied, deadline, work_s)
        except _DAMAGE as error:
            if not sqlite.is_damage(error):
                raise
            applied.notes.append(_aside(results, sqlite.reason(error)))
        return applied, _merge_batches(results, applied, deadline, work_s)


def _rebuild_in_place(results: Path, *, wait_s: float) -> tuple[Applied, str | None]:
    """Build a new store beside the published file, then replace that file."""
    deadline = time.monotonic() + wait_s
    applied = Applied()
    with lease(results, wait_s=wait_s) as granted:
        if not granted:
            return applied, BUSY
        abandon(results)
        fresh = results / _REBUILDING
        fresh.unlink(missing_ok=True)  # left by a rebuild that was killed
        try:
            build(results, fresh, applied)
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


def build(results: Path, fresh: Path, applied: Applied) -> None:
    """Make a store of all journals in a new file that no other process uses."""
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
    """Replace the store by another one while no process reads or writes it.

    Beginning a transaction also rolls back an unfinished merge of a killed process, whose rollback journal must be gone
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
        if fresh.exists():  # otherwise the file was replaced, and only closing the old one failed
            applied.notes.append(_aside(results, sqlite.reason(error)))
            fresh.replace(file)
    finally:
        engine.dispose()
    sync_path(results)
    return None


def _aside(results: Path, reason: str) -> str:
    target = set_aside(store_file(results), reason)
    return f"the store was damaged ({reason}); it was set aside as {target.name} and rebuilt"
