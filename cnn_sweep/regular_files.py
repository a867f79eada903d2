"""Opens what users name as input: only regular files, since a pipe or a device could wait or yield data for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path | str) -> None:
    """Check that a path leads to a regular file, before a library opens it.

    Raises:
        OSError: It does not; the reason is in ``strerror``.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - of each of 25,000 images
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, _what_it_is(path, mode), str(path))


def _what_it_is(path: Path | str, mode: int) -> str:
    # Reading it once would not do: jobs and later commands read files again, and paths in a file start at its folder.
    if stat.S_ISFIFO(mode) and Path(path).resolve().name.startswith("pipe:["):
        return "a pipe, as from `<(…)` or `|`, not a regular file; write its text to a file, and name that"
    return f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file"


def opener(path: str, flags: int) -> int:
    """Open a regular file without waiting; for the parameter ``opener`` of `open`.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    check_regular(path)
    return os.open(path, flags | os.O_NONBLOCK)  # it may have become a pipe


def read_regular(path: Path | str, *, limit: int | None = None) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        limit: Bytes of the largest file that is read; None for no limit.

    Raises:
        OSError: It cannot be read, is not a regular file, or is too large.
    """
    with open(path, "rb", buffering=0, opener=opener) as file:
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
    return content
