"""Standard output and error in any locale, and without control characters that come from names, values or logs."""

from __future__ import annotations

import codecs
import io
import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

_HANDLER: Final = "cnn-sweep-plain"
# Replacements for our own characters on terminals without Unicode; a sparkline's bars become their heights.
_PLAIN: Final = {"…": "...", "±": "+-", "\u00d7": "x", **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True))}
# All control characters but tab and newline; line separators; and what makes a terminal show text in another order.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Return a text with control characters spelled out, which a terminal would obey.

    >>> print(printable("name\x1b]0;another title\x07"))
    name\x1b]0;another title\x07
    """
    return _UNPRINTABLE.sub(lambda found: _escaped(found[0]), text)


class _Printable:
    """A text stream that spells out control characters.

    Attributes:
        rich_proxied_file: The stream itself, to which rich writes: it colours text and moves the cursor.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.rich_proxied_file.writelines(map(printable, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def unescaped(stream: Any) -> TextIO:
    """Return the stream below ours and below rich's, to which control characters can be written."""
    while (inner := getattr(stream, "rich_proxied_file", None)) is not None:
        stream = inner
    return cast("TextIO", stream)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in text), error.end


def _escaped(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else sign.encode("ascii", "backslashreplace").decode("ascii")


def for_people() -> None:
    """Replace what the locale's encoding lacks, so that it causes no error, and what a terminal would obey."""
    codecs.register_error(_HANDLER, _plain)
    _reconfigure(errors=_HANDLER)
    sys.stdout, sys.stderr = (cast("TextIO", _Printable(unescaped(stream))) for stream in (sys.stdout, sys.stderr))


def for_logs() -> None:
    """Write UTF-8 in any locale, because log files are read as UTF-8 and the user's code may print anything."""
    _reconfigure(encoding="utf-8", errors="backslashreplace")


def start_log() -> None:
    """Let this process log to its standard error.

    A line that cannot be written, because the disk is full, is lost; `logging` would add a traceback of its own.
    """
    for_logs()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.raiseExceptions = False


def _reconfigure(*, errors: str, encoding: str | None = None) -> None:
    for stream in map(unescaped, (sys.stdout, sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):  # tests and notebooks replace them
            stream.reconfigure(encoding=encoding, errors=errors)
