"""Exports a study as two tables, trials and epochs, in CSV with full precision or in Parquet."""

from __future__ import annotations

import csv
import json
import logging
import shlex
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.csv_tables import formula_warning, is_formula, without_formula, write_csv
from cnn_sweep.errors import InputError
from cnn_sweep.report.exports import library, written_aside
from cnn_sweep.store import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cnn_sweep.store.reader import StoreReader

log = logging.getLogger(__name__)

_GREATEST = 2**63 - 1  # the largest integer of a Parquet file
_FIRST = ["study", "trial"]  # the first columns of every table: they identify an export and its study


def to_csv(store: StoreReader, study: str, destination: str) -> list[Path]:
    """Write ``trials.csv`` and ``epochs.csv`` with full precision; return the two files.

    Raises:
        InputError: One of the files exists and is not a table of this study.
    """
    return _both(store, study, Path(destination), _Form("csv", _write_csv, _csv_start))


def to_spreadsheet(store: StoreReader, study: str, destination: str) -> list[Path]:
    """Write the tables of :func:`to_csv` with an apostrophe before each text that a spreadsheet would run.

    Raises:
        InputError: One of the files exists and is not a table of this study.
    """
    return _both(store, study, Path(destination), _Form("csv", _write_without_formulas, _csv_start))


def to_parquet(store: StoreReader, study: str, destination: str) -> list[Path]:
    """Write ``trials.parquet`` and ``epochs.parquet``; return the two files.

    Columns keep their types. A hyperparameter with lists or with values of several types is written as JSON; the
    file's metadata names such columns as ``json_columns``.

    Raises:
        InputError: One of the files exists and is not a table of this study.
    """
    library("pyarrow.parquet", "pyarrow")
    return _both(store, study, Path(destination), _Form("parquet", _write_parquet, _parquet_start))


@dataclass(frozen=True)
class _Form:
    """A file format of tables.

    Attributes:
        suffix: Suffix of its files.
        write: Writes columns and rows to a file.
        start: Reads the names of a file's first columns and, if there are rows, their values in the first one.
    """

    suffix: str
    write: Callable[..., None]
    start: Callable[[Path], list[list[str]]]


def _both(store: StoreReader, study: str, folder: Path, form: _Form) -> list[Path]:
    names = (f"trials.{form.suffix}", f"epochs.{form.suffix}")
    for name in names:
        _check_replaceable(folder / name, study, form)
    with written_aside(folder) as aside:
        for name, query in zip(names, (queries.export_trials, queries.export_epochs), strict=True):
            form.write(aside / name, *query(store, study))
        folder.mkdir(parents=True, exist_ok=True)
        return [(aside / name).replace(folder / name) for name in names]


def _check_replaceable(file: Path, study: str, form: _Form) -> None:
    """Check that a file does not exist, or is a table of the same study from an earlier export."""
    if not file.exists():
        return
    start = form.start(file)
    if not start or start[0] != _FIRST:
        found = "was written by no export"
    elif start[1:] and start[1][0] != study:
        found = f"is a table of study {start[1][0]!r}"
    else:
        return
    elsewhere = shlex.quote(str(file.parent / study))
    raise InputError(
        f"{file} {found}, and this export would replace it; move it away or name another folder: "
        f"`cnn-sweep export {study} --to {form.suffix} {elsewhere}`"
    )


def _csv_start(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        try:
            return [row[: len(_FIRST)] for row in islice(csv.reader(lines), 2)]
        except csv.Error:  # not a table
            return []


def _parquet_start(file: Path) -> list[list[str]]:
    arrow, parquet = library("pyarrow", "pyarrow"), library("pyarrow.parquet", "pyarrow")
    try:
        with parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names[: len(_FIRST)]
            rows = next(table.iter_batches(1, columns=names), None) if names == _FIRST else None
            values = [[str(value) for value in row.values()] for row in rows.to_pylist()] if rows else []
    except arrow.ArrowException:  # not a table
        return []
    return [names, *values]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    count = 0

    def counting() -> Iterator[Sequence[Any]]:
        nonlocal count
        for fields in _fields(columns, rows):
            count += sum(map(is_formula, fields))
            yield fields

    with path.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, counting())
    if count:
        log.warning("%s: %s", path.name, formula_warning(count, "--to spreadsheet"))


def _write_without_formulas(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, (list(map(without_formula, fields)) for fields in _fields(columns, rows)))


def _fields(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Any]]:
    yield columns
    for row in rows:
        yield [row.get(name) for name in columns]


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    arrow, parquet = library("pyarrow", "pyarrow"), library("pyarrow.parquet", "pyarrow")
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for row in rows:
        for name in columns:
            values[name].append(row.get(name))
    as_json = [name for name in columns if not _has_one_type(values[name])]
    for name in as_json:
        values[name] = [None if value is None else json.dumps(value) for value in values[name]]
    for name in columns:
        if any(isinstance(value, float) for value in values[name]):
            values[name] = [None if value is None else float(value) for value in values[name]]
    table = arrow.table(values)
    parquet.write_table(table.replace_schema_metadata({"json_columns": json.dumps(as_json)}), path)


def _has_one_type(values: list[Any]) -> bool:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return all(abs(value) <= _GREATEST for value in values if isinstance(value, int))
    return kinds <= {bool} or kinds <= {str}
