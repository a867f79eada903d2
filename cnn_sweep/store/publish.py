"""Merging where locks lie: into a private copy that takes the published file's place in one step.

Two mergers that race waste work and lose nothing: the journals are the truth, and how far each of them was read
stands in the file itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.journal.durable import sync, sync_folder
from cnn_sweep.store import dialect
from cnn_sweep.store.apply import apply_new, check_layout, create_tables, layout, nothing_new, read_offsets
from cnn_sweep.store.batch import Applied
from cnn_sweep.store.files import set_aside, store_file
from cnn_sweep.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

_HINT_NAME = ".sweeps.merging"
_ASIDE = ".publishing-"
_HINT_AGE_S = 60.0  # an older hint is of a merger that died
_LEFTOVER_AGE_S = 3600.0
# Copying and publishing costs about this much; for every second of it a worker leaves the store alone for ten.
_BYTES_PER_S = 50e6
_REST = 10


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
    with _hint(results) as reason:
        if reason is not None and not urgent:
            return applied, reason
        with tempfile.TemporaryDirectory(prefix="cnn-sweep-merge-") as folder:
            copy = Path(folder, "sweeps.db")
            before = None if anew else copy_published(results, copy)
            try:
                unfinished = _merge(results, copy, applied, work_s)
            except (DBAPIError, dialect.DamageError, UnicodeError) as error:
                if before is None or not dialect.is_damage(error):
                    raise
                applied.notes.append(_aside(results, before, dialect.reason(error)))
                copy.unlink()
                before = None
                unfinished = _merge(results, copy, applied, work_s)
            if applied.changed or before is None:
                _publish(results, copy, before, anew=anew)
    return applied, unfinished


def _is_current(results: Path) -> bool:
    """Tell without a copy whether the published store has all lines; False if in doubt."""
    engine = dialect.open_published(store_file(results))
    try:
        with engine.begin() as connection:
            return layout(connection) == str(SCHEMA_VERSION) and nothing_new(connection, results)
    except (DBAPIError, dialect.DamageError, UnicodeError):
        return False
    finally:
        engine.dispose()


def copy_published(results: Path, copy: Path) -> os.stat_result | None:
    """Copy the published store; return which file it was, or None if there is none.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        with store_file(results).open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            return os.fstat(source.fileno())
    except FileNotFoundError:
        copy.unlink(missing_ok=True)
        return None


def _merge(results: Path, copy: Path, applied: Applied, work_s: float) -> str | None:
    began = time.monotonic()
    engine = dialect.open_private(copy)
    try:
        with engine.begin() as connection:
            found = layout(connection)
            check_layout(found)
            if found is None:
                create_tables(connection)
                applied.changed = True
            applied.more = True
            while applied.more:
                applied.add(apply_new(connection, results))
                if applied.more and time.monotonic() - began >= work_s:
                    return "there was too much for one time; the next merge goes on"
    finally:
        engine.dispose()
    return None


def _publish(results: Path, copy: Path, before: os.stat_result | None, *, anew: bool) -> None:
    file = store_file(results)
    if not anew and _is_behind(results, copy, before):
        return  # somebody published more in the meantime
    _drop_leftovers(file)
    aside = file.with_name(f".{file.name}{_ASIDE}{secrets.token_hex(4)}")
    try:
        with copy.open("rb") as source, aside.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            sync(target.fileno())
        aside.replace(file)
        sync_folder(results)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    # Nobody writes in place here; one that stands there is of a time when locks were believed.
    file.with_name(f"{file.name}-journal").unlink(missing_ok=True)


def _is_behind(results: Path, copy: Path, before: os.stat_result | None) -> bool:
    """Tell whether what is published by now holds more of the journals than our copy."""
    try:
        now = store_file(results).stat()
    except FileNotFoundError:
        return False
    if before is not None and (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns):
        return False
    other = copy.with_name("other.db")
    try:
        return copy_published(results, other) is not None and _bytes_in(other) > _bytes_in(copy)
    except (DBAPIError, dialect.DamageError, UnicodeError):
        return False


def _bytes_in(file: Path) -> int:
    engine = dialect.open_private(file)
    try:
        with engine.begin() as connection:
            return sum(read_offsets(connection).values())
    finally:
        engine.dispose()


def _aside(results: Path, before: os.stat_result, reason: str) -> str:
    file = store_file(results)
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_ino == before.st_ino:  # else somebody has replaced it already
            name = set_aside(file, reason).name
            return f"the store was damaged ({reason}); it was set aside as {name} and is made anew"
    return f"the store was damaged ({reason}); it is made anew"


@contextlib.contextmanager
def _hint(results: Path) -> Iterator[str | None]:
    """Leave a hint that a merge is at work; yields why it is better to leave the store alone, if it is.

    Nothing but wasted work depends on it.
    """
    hint = results / _HINT_NAME
    if not _is_ours(hint):
        yield "another merge is at work"
        return
    try:
        yield _too_soon(results, hint)
    finally:
        hint.unlink(missing_ok=True)


def _is_ours(hint: Path) -> bool:
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


def _drop_leftovers(file: Path) -> None:
    """Remove what mergers that were killed left behind."""
    for path in file.parent.glob(f".{file.name}{_ASIDE}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
                path.unlink()
