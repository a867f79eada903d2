"""CSV tables: read as spreadsheets, R and pandas write them; written so that each of these reads the same text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TextIO

from cnn_sweep.errors import InputError
from cnn_sweep.messages import plural
from cnn_sweep.regular_files import opener

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Rows = list[tuple[int, list[str]]]  # each with its last line number
# How spreadsheets, R and pandas write a missing value. ("none" and "null" can be real classes.)
MISSING = frozenset({"NA", "N/A", "#N/A", "#NV", "#N/D", "NaN", "nan", "<NA>", "NULL"})
MAX_BYTES: Final = 2_000_000_000  # of a table
MAX_LINE: Final = 1_000_000  # bytes within which a line must end
MAX_COLUMNS: Final = 16_384  # as many as a spreadsheet has
_SEPARATORS = ",;\t|"
_EXCEL_HINT = re.compile(r'\A"?sep=(.)"?[\r\n]+', re.IGNORECASE)  # first line that tells Excel the separator
_MARKS = (  # byte order marks; UTF-32's begins like UTF-16's, so it comes first
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Text that begins like this is a formula to spreadsheets, also in the wide characters of East Asia.
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls


def read_csv(path: Path, columns: Sequence[str] = (), notes: list[str] | None = None) -> tuple[list[str], Rows]:
    """Return the header and the rows that are not empty.

    Args:
        path: The table.
        columns: Names of columns that it should have, by which the separator is found.
        notes: Receives remarks for the user.

    Raises:
        InputError: The file cannot be read, is not a table, or is empty.
    """
    return parse_csv(read_csv_text(path, notes), str(path), columns)


def parse_csv(text: str, name: str, columns: Sequence[str] = ()) -> tuple[list[str], Rows]:
    """Return the header and the rows of a text that are not empty.

    Args:
        text: The table.
        name: Its name in messages.
        columns: As for :func:`read_csv`.

    Raises:
        InputError: The text is not a table, or is empty.
    """
    hint = _EXCEL_HINT.match(text)
    begin = hint.end() if hint else 0
    first = 1 + text.count("\n", 0, begin)
    separator = find_separator(text, columns)
    reader = csv.reader(io.StringIO(text[begin:], newline=""), delimiter=separator, strict=True)
    rows: Rows = []
    try:
        for row in reader:
            line = first - 1 + reader.line_num
            if len(row) > MAX_COLUMNS:
                raise InputError(f"{name}: line {line}: {len(row):,} columns; a table can have {MAX_COLUMNS:,}")
            if any(value.strip() for value in row):
                rows.append((line, row))
    except csv.Error as error:
        line = first - 1 + reader.line_num
        raise InputError(
            f"{name}: line {line}: {error}; look for an unclosed quotation mark, there or above"
        ) from error
    if not rows:
        raise InputError(f"{name}: the table is empty")
    return [name.strip() for name in rows[0][1]], rows[1:]


def find_separator(text: str, columns: Sequence[str] = ()) -> str:
    """Return the separator that Excel's hint names, or that yields most of the columns; on a tie, the most columns."""
    if hint := _EXCEL_HINT.match(text):
        return hint[1]
    begin = text[: 2 * MAX_LINE].lstrip()

    def columns_with(separator: str) -> tuple[int, int]:
        try:
            header = next(csv.reader(io.StringIO(begin, newline=""), delimiter=separator), [])
        except csv.Error:  # a value is too long
            header = []
        return len(set(columns) & {name.strip() for name in header}), len(header)

    return max(_SEPARATORS, key=columns_with)


def _content(path: Path) -> bytes | bytearray:
    """Read a table, and stop early at one that is too large, is no text, or has a line without end.

    Raises:
        InputError: The table is one of these.
    """
    content = bytearray()
    with open(path, "rb", buffering=0, opener=opener) as file:
        for number in count():
            part = file.read(MAX_LINE)
            if not number and part.startswith(_WORKBOOKS):
                return part  # the caller says what it is
            if not number and b"\0" in part and not part.startswith(tuple(mark for mark, _ in _MARKS)):
                return part
            if len(part) == MAX_LINE and b"\n" not in part and b"\r" not in part:
                lines = content.count(b"\n") + 1
                raise InputError(f"{path}: line {lines:,} is longer than {MAX_LINE:,} bytes; is this a table?")
            content += part
            if len(content) > MAX_BYTES:
                raise InputError(f"{path}: the table is larger than {MAX_BYTES:,} bytes")
            if not part:
                break
    return content


def read_csv_text(path: Path, notes: list[str] | None = None) -> str:
    """Read text in UTF-8, UTF-16 or UTF-32, or else in the Windows encoding of western Europe (cp1252).

    Raises:
        InputError: The file cannot be read, or is not text.
    """
    try:
        content = _content(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if content.startswith(_WORKBOOKS):
        raise InputError(f"{path}: this is a spreadsheet, not text; save it as CSV (UTF-8)")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        text = content.decode("cp1252", errors="replace")
        if encoding == "utf-8" and "\0" not in text and "\ufffd" not in text:
            if notes is not None:
                notes.append(f"{path}: not in UTF-8, so it is read as Windows text (cp1252)")
            return text
        raise InputError(
            f"{path}: the table is not text in UTF-8 (byte {error.start}); save it as CSV (UTF-8)"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: the table is not text (it holds NUL bytes); save it as CSV (UTF-8)")
    return text


class _Lines:
    """Ends lines with a newline alone; Python's writer quotes text with a carriage return only if its lines end so."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        self._stream.write(f"{line[:-2]}\n")


def write_csv(stream: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows; None becomes an empty field, numbers and text are written unchanged."""
    csv.writer(_Lines(stream), lineterminator="\r\n").writerows(rows)


def is_formula(value: Any) -> bool:
    """Return whether a spreadsheet would run a value as a formula; numbers, also negative ones, are none.

    >>> is_formula("=1+1"), is_formula("-0.5"), is_formula(-0.5), is_formula("-")
    (True, False, False, False)
    """
    if not isinstance(value, str) or len(value) < 2 or not value.startswith(_FORMULA_SIGNS):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def without_formula(value: Any) -> Any:
    """Return a value that a spreadsheet shows as text: an apostrophe before what it would run as a formula."""
    return f"'{value}" if is_formula(value) else value


def formula_warning(count: int, option: str) -> str:
    """Return the warning that a table has formulas; the option writes it without."""
    return (
        f"{plural(count, 'text begins', 'texts begin')} like a formula, which a spreadsheet would run; "
        f"`{option}` puts an apostrophe before each"
    )
