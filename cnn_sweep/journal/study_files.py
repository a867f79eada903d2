"""Reads the files of a study and of a results folder, with one error for whatever is wrong with one of them.

A file may be missing, cut off, a folder, a named pipe that nobody writes to, or anything that an accident left there.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import DamagedFileError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_KINDS: Final[dict[type, str]] = {dict: "a JSON object", list: "a JSON list"}


def open_file(path: Path) -> BufferedReader:
    """Open a plain file for reading.

    Raises:
        OSError: It cannot be opened, or is no plain file.
    """
    # Opening a named pipe would otherwise wait for somebody who writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no plain file", str(path))


def read_file(path: Path, cure: str) -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        cure: What the user can do if it is damaged; ends the message.

    Raises:
        DamagedFileError: The file is missing or cannot be read.
    """
    try:
        with open_file(path) as file:
            return file.read()
    except FileNotFoundError:
        raise DamagedFileError(path, "the file is missing", cure) from None
    except OSError as error:
        raise DamagedFileError(path, f"it cannot be read: {error.strerror or error}", cure) from error


def read_text(path: Path, cure: str) -> str:
    """Return the text of a file in UTF-8; arguments and errors as for :func:`read_file`."""
    content = read_file(path, cure)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFileError(path, f"it is not text in UTF-8 (byte {error.start})", cure) from None


def read_json(path: Path, cure: str, kind: type = dict) -> Any:
    """Return the content of a JSON file.

    Args:
        path: The file.
        cure: As for :func:`read_file`.
        kind: Type of the content: ``dict`` or ``list``.

    Raises:
        DamagedFileError: The file is missing, cannot be read, or has other content.
    """
    try:
        found = json.loads(read_text(path, cure))
    except (ValueError, RecursionError):
        raise DamagedFileError(path, "it is not JSON", cure) from None
    if not isinstance(found, kind):
        raise DamagedFileError(path, f"it does not contain {_KINDS[kind]}", cure)
    return found
