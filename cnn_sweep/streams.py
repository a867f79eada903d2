"""Standard output and error in any locale: replaces characters that the encoding lacks instead of failing."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final

_HANDLER: Final = "cnn-sweep-plain"
# Replacements for our own characters on terminals without Unicode; a sparkline's bars become their heights.
_PLAIN: Final = {"…": "...", "±": "+-", "\u00d7": "x", **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True))}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in text), error.end


def _escaped(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode("ascii")


def for_people() -> None:
    """Replace characters that the locale's encoding lacks, so that none of them causes an error."""
    codecs.register_error(_HANDLER, _plain)
    _reconfigure(errors=_HANDLER)


def for_logs() -> None:
    """Write UTF-8 in any locale, because log files are read as UTF-8 and the user's code may print anything."""
    _reconfigure(encoding="utf-8", errors="backslashreplace")


def _reconfigure(*, errors: str, encoding: str | None = None) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tests and notebooks replace them
            stream.reconfigure(encoding=encoding, errors=errors)
