"""Merges without reliable file locking: into a private copy, which is then published under a new name.

If a file is replaced by another one of the same name, two mounts of the folder may show a mixture of old and new pages
without an error. Therefore every published store has a unique name, which contains the checksum of its content, and
never changes. ``sweeps.db`` is a second name of the newest store, for people and other programs.

Two concurrent merges waste work but lose nothing: the journals are the source of truth, and each store records how far
it has read them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.journal.filesystem import aside_of, is_being_written, mode_in, sync, sync_path
from cnn_sweep.store import sqlite
from cnn_sweep.store.files import BUSY, UNFINISHED, private_folder, set_aside, store_file
from cnn_sweep.store.ingest import Applied, apply_new, nothing_new, read_offsets
from cnn_sweep.store.schema import SCHEMA_VERSION, ensure_tables, layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_FOLDER = ".sweeps"
_NAME = re.compile(r"(\d{10})-(\d{15})-([0-9a-f]{40})\.db")
_NEW = "store"  # what a process writes before it has the name of a version
_KEPT = 2  # the newest store, and the previous one, which may still be in use
_LEFTOVER_AGE_S = 3600.0
_BLOCK = 1 << 20
_HINT_NAME = ".sweeps.merging"
_HINT_AGE_S = 60.0  # seconds; an older hint belongs to a merge that died
# Copying and publishing take about one second per this many bytes. To limit the load, a worker does not merge for ten
# times as long after a store was published.
_BYTES_PER_S = 50e6
_REST = 10
_DAMAGE = (DBAPIError, sqlite.DamageError, UnicodeError)


@dataclass(frozen=True, order=True)
class Version:
    """One published store; the greatest one counts.

    Attributes:
        number: Number of the version from which it was made, plus one.
        size: Number of bytes of journals in it.
        digest: Checksum of the file.
        path: The file.
    """

    number: int
    size: int
    digest: str
    path: Path


def folder_of(results: Path) -> Path:
    """Return the folder of the published stores."""
    return results / _FOLDER


def list_versions(results: Path) -> list[Version]:
    """Return the published stores, the newest first."""
    try:
        names = [path.name for path in folder_of(results).iterdir()]
    except FileNotFoundError:
        return []
    found = ((name, _NAME.fullmatch(name)) for name in names)
    versions = (Version(int(m[1]), int(m[2]), m[3], folder_of(results) / name) for name, m in found if m)
    return sorted(versions, reverse=True)


def fetch(version: Version, copy: Path) -> bool:
    """Copy a published store; return whether the copy is intact.

    Raises:
        OSError: The store cannot be read, for example because it was removed meanwhile.
    """
    with version.path.open("rb") as source, copy.open("wb") as target:
        return _copy(source, target) == version.digest


def fetch_first(results: Path, copy: Path) -> bool:
    """Copy the newest published store that is intact; return whether there is one.

    Raises:
        OSError: A store cannot be read.
    """
    tried: set[Path] = set()
    while left := [version for version in list_versions(results) if version.path not in tried]:
        tried.add(left[0].path)
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile, so there is a newer one
            if fetch(left[0], copy):
                return True
    return False


def digest_of(file: Path) -> str:
    """Return the checksum of a file.

    Raises:
        OSError: It cannot be read.
    """
    digest = _digest()
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def publish(results: Path, copy: Path, *, number: int, size: int) -> Version:
    """Publish a complete store.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = folder_of(results)
    folder.mkdir(mode=mode_in(results), exist_ok=True)
    aside = aside_of(folder / _NEW)
    try:
        made = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode_in(results) & 0o666)
        with copy.open("rb") as source, os.fdopen(made, "wb") as target:
            digest = _copy(source, target)
            target.flush()
            sync(target.fileno())
        version = Version(number, size, digest, folder / f"{number:010}-{size:015}-{digest}.db")
        aside.replace(version.path)
        sync_path(folder)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _prune(results)
    return version


def is_exposed(results: Path, version: Version) -> bool:
    """Return whether ``sweeps.db`` is a name of this version."""
    try:
        a, b = store_file(results).stat(), version.path.stat()
    except FileNotFoundError:
        return False
    return a.st_ino == b.st_ino or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def expose(results: Path, version: Version) -> None:
    """Make ``sweeps.db`` a name of this version.

    Raises:
        OSError: The folder cannot be written.
    """
    file = store_file(results)
    link = aside_of(file)
    try:
        try:
            os.link(version.path, link)
        except OSError:  # no hard links here
            shutil.copy2(version.path, link)
        link.replace(file)
    finally:
        link.unlink(missing_ok=True)
    # A rollback journal dates from a time when file locking was considered reliable; nothing is written in place now.
    file.with_name(f"{file.name}-journal").unlink(missing_ok=True)


def abandon(results: Path) -> None:
    """Remove the published stores; ``sweeps.db`` remains, and may be written in place from now on.

    Raises:
        OSError: The folder cannot be written.
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder_of(results))


def _prune(results: Path) -> None:
    """Remove old versions, and files left by killed processes."""
    for version in list_versions(results)[_KEPT:]:
        version.path.unlink(missing_ok=True)
    _remove_leftovers(folder_of(results), _NEW)
    _remove_leftovers(results, store_file(results).name)


def _remove_leftovers(folder: Path, name: str) -> None:
    """Remove what killed processes were writing under a name: at once if they ran here, else when it is old."""
    for path in folder.glob(f".{name}.*"):
        with contextlib.suppress(FileNotFoundError):
            # A second name of a store has the store's own time of change (mtime), but is itself a change of the inode.
            is_old = time.time() - path.stat().st_ctime > _LEFTOVER_AGE_S
            writing = is_being_written(path)
            if writing is False or (writing is None and is_old):
                path.unlink()


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    digest = _digest()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=20)


def merge_and_publish(results: Path, *, urgent: bool, work_s: float, anew: bool) -> tuple[Applied, str | None]:
    """Apply new lines in a copy and publish it; return the result, and why lines are left, if any.

    Args:
        results: Root of the studies.
        urgent: Merge even if another merge seems to be running.
        work_s: Seconds after which no further batch is begun.
        anew: Rebuild from the journals alone.

    Raises:
        OSError: A folder cannot be written.
        DBAPIError: The database fails.
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
            if not sqlite.is_damage(error):
                raise
            _discard(results, applied.notes, sqlite.reason(error))
            abandon(results)
            copy.unlink()
            size, unfinished = _merge(results, copy, applied, work_s)
        if applied.changed:
            publish(results, copy, number=number, size=size)
        _expose_newest(results)
    return applied, unfinished


def fetch_newest(results: Path, copy: Path, notes: list[str]) -> bool:
    """Copy the newest published store that is intact; return whether there is one.

    A damaged store is set aside, and a note is added to ``notes``.

    Raises:
        OSError: It cannot be read.
    """
    tried: set[Path] = set()
    while left := [version for version in list_versions(results) if version.path not in tried]:
        version = left[0]
        tried.add(version.path)
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile, so there is a newer one
            if fetch(version, copy):
                return True
            if is_exposed(results, version):
                _discard(results, notes, "its checksum does not match")
            version.path.unlink(missing_ok=True)
    return False


def _discard(results: Path, notes: list[str], reason: str) -> None:
    name = "nothing"
    with contextlib.suppress(FileNotFoundError):
        name = set_aside(store_file(results), reason).name
    notes.append(f"the store was damaged ({reason}); it was set aside as {name} and rebuilt")


def _newest_number(results: Path) -> int:
    return max((version.number for version in list_versions(results)), default=0)


def _merge(results: Path, copy: Path, applied: Applied, work_s: float) -> tuple[int, str | None]:
    """Apply batches until all lines are read or time is up; return the bytes in the store, and why lines are left."""
    began = time.monotonic()
    engine = sqlite.open_private(copy)
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
    """Return whether the published store has all lines, without copying it; False if in doubt."""
    newest = next(iter(list_versions(results)), None)
    if newest is None or not is_exposed(results, newest):
        return False
    engine = sqlite.open_published(newest.path)
    try:
        with engine.begin() as connection:
            return layout(connection) == str(SCHEMA_VERSION) and nothing_new(connection, results)
    except _DAMAGE:
        return False
    finally:
        engine.dispose()


def _expose_newest(results: Path) -> None:
    """Make ``sweeps.db`` a name of the newest store."""
    newest = next(iter(list_versions(results)), None)
    if newest is None or is_exposed(results, newest):
        return
    with contextlib.suppress(FileNotFoundError):  # another process published a newer one and will expose it
        expose(results, newest)


def _make_room(results: Path, notes: list[str]) -> None:
    """Set aside a file that has the store's name but is not a store, before the first publication."""
    file = store_file(results)
    # The order matters: a publisher first creates the version and then makes the file a name of it.
    if file.exists() and not list_versions(results) and not _is_ours(file):
        _discard(results, notes, "it is not a store of this version")


def _is_ours(file: Path) -> bool:
    engine = sqlite.open_published(file)
    try:
        with engine.begin() as connection:
            return layout(connection) in {None, str(SCHEMA_VERSION)}
    except _DAMAGE:
        return False
    finally:
        engine.dispose()


@contextlib.contextmanager
def _hint(results: Path) -> Iterator[str | None]:
    """Create a hint that a merge is running; yield a reason not to merge now, or None.

    The hint only saves work; correctness does not depend on it.
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
    """Create the hint; return False if another process created it recently."""
    try:
        os.close(os.open(hint, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        try:
            if abs(time.time() - hint.stat().st_mtime) < _HINT_AGE_S:
                return False
            os.utime(hint)
        except FileNotFoundError:
            return False  # the other merge has just finished
    return True


def _too_soon(results: Path, hint: Path) -> str | None:
    """Return a reason to wait if a store was published a moment ago, by the file system's own clock."""
    try:
        published, now = store_file(results).stat(), hint.stat().st_mtime
    except FileNotFoundError:
        return None
    rest = _REST * published.st_size / _BYTES_PER_S
    return "the store was published a moment ago" if 0 <= now - published.st_mtime < rest else None
