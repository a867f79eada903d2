"""Tables that say which image is what: CSV, as programs and spreadsheets write it, or a DataFrame saved as Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError, SettingError, blamed_on
from cnn_sweep.messages import listed, near, plural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import Labels, TileLabels

# How spreadsheets, R and pandas write a missing value. ("none" and "null" may well be classes.)
MISSING = frozenset({"NA", "N/A", "#N/A", "NaN", "nan", "<NA>", "NULL"})
_SEPARATORS = ",;\t|"
_EXCEL_HINT = re.compile(r'\A"?sep=(.)"?[\r\n]+', re.IGNORECASE)  # a first line that Excel understands
_MARKS = (  # of encodings; UTF-32's begins like UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls


def read_table(
    path: Path, labels: Labels | TileLabels, keys: Sequence[str], notes: list[str] | None = None
) -> list[tuple[str, ...]]:
    """Return the rows of a table, each as the text of the wanted columns, without spaces around it.

    Rows without any value, as spreadsheets leave them at the end, are no rows.

    Args:
        path: The table.
        labels: The part of the sweep file that names its columns.
        keys: Those that are wanted, as ``label``; one without a column is left out.
        notes: Gets what the user should know.

    Raises:
        InputError: The file cannot be read, lacks a column, has it twice, or has a row that does not fit its header.
    """
    with blamed_on("data", "labels", "table"):
        return _read_table(path, {key: name for key in keys if (name := getattr(labels, key)) is not None}, notes)


def _read_table(path: Path, names: dict[str, str], notes: list[str] | None) -> list[tuple[str, ...]]:
    columns = list(names.values())
    is_parquet = path.suffix.lower() in {".parquet", ".pq"}
    header, rows = _parquet(path) if is_parquet else _csv(path, columns, notes)
    for key, column in names.items():
        if column not in header:
            message = f"{path}: no column {column!r}{near(column, header)}; it has {listed(header)}"
            raise SettingError(message, ("data", "labels", key))
        if header.count(column) > 1:
            raise InputError(f"{path}: {header.count(column)} columns are called {column!r}; rename all but one")
    places = [header.index(column) for column in columns]
    filled = [(line, row) for line, row in rows if any(value.strip() for value in row)]
    for line, row in filled:
        if len(row) < len(header) or any(value.strip() for value in row[len(header) :]):
            values = plural(len(row), "value", "values")
            raise InputError(
                f"{path}: line {line}: {values}, but there are {len(header)} columns: {row}. A value that holds the "
                "separator must stand in quotes"
            )
    if not filled:
        raise InputError(f"{path}: the table has no rows")
    return [tuple(row[place].strip() for place in places) for _, row in filled]


def without_missing(labels: Iterable[str], classes: Collection[str] | None, path: Path) -> tuple[list[str], list[str]]:
    """Return labels with "" for those that say that there is none (NA), and notes about these.

    Args:
        labels: As the table has them.
        classes: As the user named them; a word among them is a class.
        path: The table.
    """
    words = MISSING - set(classes or ())
    cleaned, counts = [], dict[str, int]()
    for label in labels:
        if label in words:
            counts[label] = counts.get(label, 0) + 1
        cleaned.append("" if label in words else label)
    notes = [
        f"{path}: {word!r} is read as no label, in {plural(count, 'row', 'rows')}; if it is a class, list the classes"
        for word, count in counts.items()
    ]
    return cleaned, notes


def check_not_numbers(labels: Sequence[str], where: object) -> None:
    """Refuse labels that are measurements and no classes.

    Raises:
        InputError: They are all numbers and many; if whole ones, fewer than three images have the same on average.
    """
    different = {label for label in labels if label}
    count = sum(1 for label in labels if label)
    if not all(_is_number(label) for label in different):
        return
    # Numbers of classes are whole, so that only many of them which hardly ever come twice are measurements.
    whole = all(float(label.replace(",", ".")).is_integer() for label in different)
    if len(different) <= (20 if whole else 5) or (whole and count >= 3 * len(different)):
        return
    shown = ", ".join(sorted(different)[:4])
    raise InputError(
        f"{where}: the labels look like numbers ({shown}, …: {len(different)} different ones for {count} images). "
        "Networks are trained to tell classes apart, not to predict numbers: put ranges into the label column, such "
        "as low and high; or, if each number is a class, list them in classes"
    )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _csv(path: Path, columns: Sequence[str], notes: list[str] | None) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return header and rows, each with the line on which it ends."""
    text = _text(path, notes)
    hint = _EXCEL_HINT.match(text)
    begin = hint.end() if hint else 0
    first = 1 + text.count("\n", 0, begin)
    separator = hint[1] if hint else _separator(text, columns)
    reader = csv.reader(io.StringIO(text[begin:], newline=""), delimiter=separator, strict=True)
    try:
        rows = [(first - 1 + reader.line_num, row) for row in reader if any(value.strip() for value in row)]
    except csv.Error as error:
        line = first - 1 + reader.line_num
        raise InputError(
            f"{path}: line {line}: {error}; look for a quotation mark that is not closed, there or above"
        ) from error
    if not rows:
        raise InputError(f"{path}: the table is empty")
    return [name.strip() for name in rows[0][1]], rows[1:]


def _separator(text: str, columns: Sequence[str]) -> str:
    """Return the separator that gives most of the wanted columns; of several, the one that gives most columns."""

    def columns_with(separator: str) -> tuple[int, int]:
        header = next(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=separator), [])
        return len(set(columns) & {name.strip() for name in header}), len(header)

    return max(_SEPARATORS, key=columns_with)


def _text(path: Path, notes: list[str] | None) -> str:
    """Read a text in UTF-8, UTF-16 or UTF-32; otherwise as Windows writes it in western Europe."""
    try:
        content = path.read_bytes()
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


def _parquet(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    import pandas as pd  # noqa: PLC0415 - half a second that other sources need not wait

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise InputError(f"{path}: to read Parquet install pyarrow, or save the table as CSV") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    columns = [_texts(frame.iloc[:, place]) for place in range(frame.shape[1])]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return [str(name) for name in frame.columns], list(enumerate(rows, start=1))


def _texts(column: Any) -> list[str]:
    """Return the values as text; whole numbers that pandas made floating-point for a missing one are whole again."""
    values = column.astype(object).where(column.notna(), "").tolist()
    is_whole = column.dtype.kind == "f" and all(value == "" or float(value).is_integer() for value in values)
    return [str(int(value)) if is_whole and value != "" else str(value) for value in values]
