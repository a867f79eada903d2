"""Bytes that are on the disk when a call returns, and files that are whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # file systems that cannot be told to


def sync(fd: int) -> None:
    """Force a file's contents to the disk, where the file system can be told to.

    Raises:
        OSError: If the disk is full or fails.
    """
    try:
        os.fdatasync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_path(path: Path) -> None:
    """Force a file's contents, or a folder's list of names, to the disk, where the file system can be told to.

    Raises:
        OSError: If the disk is full or fails.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, force it to the disk and close the file in any case.

    Raises:
        OSError: If the disk is full or fails.
    """
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        sync(fd)
    finally:
        os.close(fd)


def write_aside(path: Path, data: bytes) -> None:
    """Replace a file by one that is complete from its first moment on.

    Raises:
        OSError: If the disk is full or fails; the file is then as it was.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_all(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_once(path: Path, data: bytes) -> None:
    """Give a file its name only when its content is whole; of several writers the first wins.

    Raises:
        OSError: If the disk is full or fails.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_all(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), data)
    try:
        os.link(aside, path)
    except FileExistsError:
        aside.unlink()
    except OSError:  # no hard links here: a rename is whole as well, but the last writer wins
        aside.replace(path)
    else:
        aside.unlink()
