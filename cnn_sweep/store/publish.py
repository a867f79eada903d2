"""Merging where locks lie: into a private copy that is published as a whole.

Two mergers that race waste work and lose nothing: the journals are the truth, and how far each of them was read
stands in the store itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.store import dialect, versions
from cnn_sweep.store.apply import apply_new, ensure_tables, layout, nothing_new, read_offsets
from cnn_sweep.store.batch import Applied
from cnn_sweep.store.files import BUSY, UNFINISHED, private_folder, set_aside, store_file
from cnn_sweep.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HINT_NAME = ".sweeps.merging"
_HINT_AGE_S = 60.0  # an older hint is of a merger that died
# Copying and publishing costs about this much; for every second of it a worker leaves the store alone for ten.
_BYTES_PER_S = 50e6
_REST = 10
_DAMAGE = (DBAPIError, dialect.DamageError, UnicodeError)


def merge_and_publish(results: Path, *, urgent: bool, work_s: float, anew: bool) -> tuple[Applied, str | None]:
    """Apply new lines in a copy and publish it; return what was done and why not all was.

    Args:
        results: Root of the studies.
        urgent: Merge although somebody else seems to be at it.
        work_s: After how many seconds no further batch is begun.
        anew: Forget everything first.

    Raises:
        OSError: If a folder cannot be written to.
        DBAPIError: If the database fails.
    """
    applied = Applied()
    if not anew and _is_current(results):
        return applied, None
    with _hint(results) as reason, private_folder() as folder:
        if reason is not None and not urgent:
            return applied, reason
        copy = folder / "sweeps.db"
        _make_room(results, applied.notes)
        number = _newest_number(results) + 1
        if not anew and not fetch_newest(results, copy, applied.notes):
            copy.unlink(missing_ok=True)
        try:
            size, unfinished = _merge(results, copy, applied, work_s)
        except _DAMAGE as error:
            if not dialect.is_damage(error):
                raise
            _discard(results, applied.notes, dialect.reason(error))
            versions.abandon(results)
            copy.unlink()
            size, unfinished = _merge(results, copy, applied, work_s)
        if applied.changed:
            versions.publish(results, copy, number=number, size=size)
        _expose_newest(results)
    return applied, unfinished


def fetch_newest(results: Path, copy: Path, notes: list[str]) -> bool:
    """Copy the newest published store that is sound; tell whether there is one.

    A damaged one is set aside, which is added to ``notes``.

    Raises:
        OSError: If it cannot be read.
    """
    tried: set[Path] = set()
    while left := [version for version in versions.list_versions(results) if version.path not in tried]:
        version = left[0]
        tried.add(version.path)
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile, so there is a newer one
            if versions.fetch(version, copy):
                return True
            if versions.is_exposed(results, version):
                _discard(results, notes, "its checksum does not match")
            version.path.unlink(missing_ok=True)
    return False


def _discard(results: Path, notes: list[str], reason: str) -> None:
    name = "nothing"
    with contextlib.suppress(FileNotFoundError):
        name = set_aside(store_file(results), reason).name
    notes.append(f"the store was damaged ({reason}); it was set aside as {name} and is made anew")


def _newest_number(results: Path) -> int:
    return max((version.number for version in versions.list_versions(results)), default=0)


def _merge(results: Path, copy: Path, applied: Applied, work_s: float) -> tuple[int, str | None]:
    """Apply batches until all is done or the time is up; return how much is in the store, and why not all is."""
    began = time.monotonic()
    engine = dialect.open_private(copy)
    try:
        with engine.begin() as connection:
            if ensure_tables(connection):
                applied.changed = True
            applied.more = True
            while applied.more and (applied.events == 0 or time.monotonic() - began < work_s):
                applied.add(apply_new(connection, results))
            return sum(read_offsets(connection).values()), UNFINISHED if applied.more else None
    finally:
        engine.dispose()


def _is_current(results: Path) -> bool:
    """Tell without a copy whether the published store has all lines; False if in doubt."""
    newest = next(iter(versions.list_versions(results)), None)
    if newest is None or not versions.is_exposed(results, newest):
        return False
    engine = dialect.open_published(newest.path)
    try:
        with engine.begin() as connection:
            return layout(connection) == str(SCHEMA_VERSION) and nothing_new(connection, results)
    except _DAMAGE:
        return False
    finally:
        engine.dispose()


def _expose_newest(results: Path) -> None:
    """Let ``sweeps.db`` be the newest store, whatever it was before."""
    newest = next(iter(versions.list_versions(results)), None)
    if newest is None or versions.is_exposed(results, newest):
        return
    with contextlib.suppress(FileNotFoundError):  # somebody published a newer one, and exposes that
        versions.expose(results, newest)


def _make_room(results: Path, notes: list[str]) -> None:
    """Before the first publication, set aside a file in the store's place that is none."""
    file = store_file(results)
    # In this order: whoever publishes makes the version first, and then the file a name of it.
    if file.exists() and not versions.list_versions(results) and not _is_ours(file):
        _discard(results, notes, "it is no store of this version")


def _is_ours(file: Path) -> bool:
    engine = dialect.open_published(file)
    try:
        with engine.begin() as connection:
            return layout(connection) in {None, str(SCHEMA_VERSION)}
    except _DAMAGE:
        return False
    finally:
        engine.dispose()


@contextlib.contextmanager
def _hint(results: Path) -> Iterator[str | None]:
    """Leave a hint that a merge is at work; yields why it is better to leave the store alone, if it is.

    Nothing but wasted work depends on it.
    """
    hint = results / _HINT_NAME
    if not _takes(hint):
        yield BUSY
        return
    try:
        yield _too_soon(results, hint)
    finally:
        hint.unlink(missing_ok=True)


def _takes(hint: Path) -> bool:
    """Make the hint; False if somebody else has it, unless that was long ago."""
    try:
        os.close(os.open(hint, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        try:
            if abs(time.time() - hint.stat().st_mtime) < _HINT_AGE_S:
                return False
            os.utime(hint)
        except FileNotFoundError:
            return False  # finished just now
    return True


def _too_soon(results: Path, hint: Path) -> str | None:
    """Say that a store was published a moment ago, as the file system's own clock tells."""
    try:
        published, now = store_file(results).stat(), hint.stat().st_mtime
    except FileNotFoundError:
        return None
    rest = _REST * published.st_size / _BYTES_PER_S
    return "the store was published a moment ago" if 0 <= now - published.st_mtime < rest else None
