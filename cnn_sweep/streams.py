"""Standard output and standard error in any locale: what its encoding cannot say is written in other characters."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final

_HANDLER: Final = "cnn-sweep-plain"
# What terminals without Unicode are shown for our own signs; bars of a sparkline become their heights.
_PLAIN: Final = {"…": "...", "±": "+-", "\u00d7": "x", **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True))}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in text), error.end


def _escaped(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode("ascii")


def for_people() -> None:
    """Let no character end the program that writes it; the encoding stays the locale's."""
    codecs.register_error(_HANDLER, _plain)
    _reconfigure(errors=_HANDLER)


def for_logs() -> None:
    """Write UTF-8 whatever the locale, since log files are read as such; the user's own code may print anything."""
    _reconfigure(encoding="utf-8", errors="backslashreplace")


def _reconfigure(*, errors: str, encoding: str | None = None) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tests and notebooks have others
            stream.reconfigure(encoding=encoding, errors=errors)
