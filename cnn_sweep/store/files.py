"""The store's file: its name, the lock that guards it, temporary copies, and setting aside a damaged one."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

STORE_NAME = "sweeps.db"
# Reasons why a merge did not read all lines.
BUSY = "another merge is running"
LOCKED = "another program has the database open"
UNFINISHED = "there were too many lines for one merge; the next merge continues"
_LEASE_NAME = ".sweeps.lock"
_BESIDE = ("-journal", "-wal", "-shm")  # suffixes of the files that SQLite keeps beside a database
_KEPT = 3  # damaged stores to keep; everything in them is in the journals, too
_POLL_S = 0.02
_PRIVATE = "cnn-sweep-store-"
_LEFTOVER_AGE_S = 3600.0


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Create a folder on this machine's own disk for the duration of a merge or a query.

    Folders of killed processes are removed after an hour.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{_PRIVATE}*"):
        with contextlib.suppress(OSError):
            if old.stat().st_uid == os.getuid() and time.time() - old.stat().st_mtime > _LEFTOVER_AGE_S:
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=_PRIVATE) as folder:
        yield Path(folder)


def store_file(results: Path) -> Path:
    """Return the file of the store of a results folder."""
    return results / STORE_NAME


@contextlib.contextmanager
def lease(results: Path, *, wait_s: float) -> Iterator[bool]:
    """Hold the lock of the store, if file locking is reliable; yield whether it was granted.

    SQLite's own lock protects one file. This lock protects its name: during a merge, no other process may replace the
    store, or confuse the rollback journal of an old store with that of the new one.

    Raises:
        OSError: The lock file cannot be opened, as in another user's results.
    """
    fd = os.open(results / _LEASE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield _locked(fd, deadline=time.monotonic() + wait_s)
    finally:
        os.close(fd)


def _locked(fd: int, *, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def set_aside(file: Path, reason: str) -> Path:
    """Rename an unusable store and the files that SQLite keeps beside it; return its new name.

    Raises:
        OSError: The folder cannot be written.
    """
    target = _free_name(file)
    # The rollback journal first, because SQLite would apply it to a new store of the same name.
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            file.with_name(file.name + suffix).rename(f"{target}{suffix}")
    file.rename(target)
    log.warning("%s was set aside as %s: %s", file, target.name, reason)
    _drop_old(file)
    return target


def _free_name(file: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name, number = f"{file.name}.corrupt-{stamp}", 1
    while file.with_name(name).exists():
        number += 1
        name = f"{file.name}.corrupt-{stamp}-{number}"
    return file.with_name(name)


def _drop_old(file: Path) -> None:
    stores = [p for p in file.parent.glob(f"{file.name}.corrupt-*") if not p.name.endswith(_BESIDE)]
    for old in sorted(stores)[:-_KEPT]:
        for suffix in ("", *_BESIDE):
            old.with_name(old.name + suffix).unlink(missing_ok=True)
