"""Tables that say which image is what: CSV, or a DataFrame that was saved as Parquet."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.mistakes import listed, near

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows of a table, each as the text of the wanted columns, without spaces around it.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    is_parquet = path.suffix.lower() in {".parquet", ".pq"}
    header, *rows = _parquet(path) if is_parquet else _csv(path)
    for column in columns:
        if column not in header:
            raise InputError(f"{path}: no column {column!r}{near(column, header)}; it has {listed(header)}")
    places = [header.index(column) for column in columns]
    for row in rows:
        if len(row) < len(header):
            raise InputError(f"{path}: a row of {len(row)} values, but there are {len(header)} columns: {row}")
    if not rows:
        raise InputError(f"{path}: the table has no rows")
    return [tuple(row[place].strip() for place in places) for row in rows]


def _csv(path: Path) -> list[list[str]]:
    """Return header and rows; fields are separated by commas, semicolons or tabs, whatever the header has most of."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the table is not text in UTF-8 (byte {error.start})") from error
    first = text.partition("\n")[0]
    rows = [row for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count)) if row]
    if not rows:
        raise InputError(f"{path}: the table is empty")
    return [[name.strip() for name in rows[0]], *rows[1:]]


def _parquet(path: Path) -> list[list[str]]:
    import pandas as pd  # noqa: PLC0415 - half a second that other sources need not wait

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise InputError(f"{path}: to read Parquet install pyarrow, or save the table as CSV") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    text = frame.astype(object).where(frame.notna(), "").astype(str)
    return [[str(name) for name in frame.columns], *text.to_numpy().tolist()]
