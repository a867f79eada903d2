"""Published stores where locks lie: files that never change, under names that are never used again.

Two mounts of one folder may show old pages of a file whose name was given to a new one, without an error and
mixed with new pages. So every published store has a name of its own, which holds the checksum of its content;
``sweeps.db`` is one more name of the newest, for people and other programs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.journal.durable import sync, sync_path
from cnn_sweep.store.files import store_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_FOLDER = ".sweeps"
_NAME = re.compile(r"(\d{10})-(\d{15})-([0-9a-f]{40})\.db")
_ASIDE = ".new-"
_KEPT = 2  # the newest and the one before it, which somebody may be reading
_LEFTOVER_AGE_S = 3600.0
_BLOCK = 1 << 20


@dataclass(frozen=True, order=True)
class Version:
    """One published store; of two, the greater one counts.

    Attributes:
        number: One more than that of the version it was made of.
        size: How many bytes of journals are in it.
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
    """Copy a published store; tell whether the copy is what was published.

    Raises:
        OSError: If it cannot be read, as when it was removed meanwhile.
    """
    with version.path.open("rb") as source, copy.open("wb") as target:
        return _copy(source, target) == version.digest


def fetch_first(results: Path, copy: Path) -> bool:
    """Copy the newest published store that is sound; tell whether there is one.

    Raises:
        OSError: If one cannot be read.
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
        OSError: If it cannot be read.
    """
    digest = _digest()
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def publish(results: Path, copy: Path, *, number: int, size: int) -> Version:
    """Publish a store that nobody writes to any more.

    Raises:
        OSError: If the folder cannot be written to.
    """
    folder = folder_of(results)
    folder.mkdir(mode=0o700, exist_ok=True)
    aside = folder / f"{_ASIDE}{secrets.token_hex(4)}"
    try:
        with copy.open("rb") as source, aside.open("xb") as target:
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
    """Tell whether ``sweeps.db`` is a name of this version."""
    try:
        a, b = store_file(results).stat(), version.path.stat()
    except FileNotFoundError:
        return False
    return a.st_ino == b.st_ino or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def expose(results: Path, version: Version) -> None:
    """Make ``sweeps.db`` a name of this version.

    Raises:
        OSError: If the folder cannot be written to.
    """
    file = store_file(results)
    link = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        try:
            os.link(version.path, link)
        except OSError:  # no hard links here
            shutil.copy2(version.path, link)
        link.replace(file)
    finally:
        link.unlink(missing_ok=True)
    # Nobody writes in place here; a journal that stands there is of a time when locks were believed.
    file.with_name(f"{file.name}-journal").unlink(missing_ok=True)


def abandon(results: Path) -> None:
    """Remove the published stores; ``sweeps.db`` stays and may be written in place from here on.

    Raises:
        OSError: If the folder cannot be written to.
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder_of(results))


def _prune(results: Path) -> None:
    """Remove old versions, and what publishers that were killed left behind."""
    for version in list_versions(results)[_KEPT:]:
        version.path.unlink(missing_ok=True)
    for path in folder_of(results).glob(f"{_ASIDE}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
                path.unlink()


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    digest = _digest()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=20)
