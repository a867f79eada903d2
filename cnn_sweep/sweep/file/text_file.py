"""Reads the text of a sweep file, or of a file that it includes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.errors import Problem, SweepFileError
from cnn_sweep.messages import closest
from cnn_sweep.regular_files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1_000_000


def read_text(path: Path, *, limit: int | None = MAX_BYTES) -> str:
    """Return the text of a file in UTF-8.

    Args:
        path: The file.
        limit: Bytes of the largest file that is read; None for no limit.

    Raises:
        SweepFileError: The file cannot be read, is too large, or is not text.
    """
    try:
        text = read_regular(path, limit=limit).decode("utf-8-sig")
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}{_nearby(path, error)}"
        raise SweepFileError(str(path), [Problem(0, "", reason)]) from error
    except UnicodeDecodeError as error:
        reason = f"the file is not text in UTF-8 (byte {error.start})"
        raise SweepFileError(str(path), [Problem(0, "", reason)]) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _nearby(path: Path, error: OSError) -> str:
    """Return a hint if a file beside the one that is missing has almost its name."""
    if not isinstance(error, FileNotFoundError) or not path.parent.is_dir():
        return ""
    names = {one.stem: one.name for one in path.parent.glob("*.y*ml")}
    close = closest(path.stem, names)
    return "" if close is None else f" (did you mean {names[close]!r}?)"
