"""A study as two tables, its trials and its epochs: comma-separated values with full precision, or Parquet."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.exports import library, written_aside
from cnn_sweep.store import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_GREATEST = 2**63 - 1  # of a whole number in a Parquet file


def to_csv(results: Path, study: str, destination: str) -> list[Path]:
    """Write ``trials.csv`` and ``epochs.csv`` with full precision; return the two files."""
    return _both(results, study, Path(destination), "csv", _write_csv)


def to_parquet(results: Path, study: str, destination: str) -> list[Path]:
    """Write ``trials.parquet`` and ``epochs.parquet``; return the two files.

    Columns keep their types. A hyperparameter with values of several kinds, or lists, is written as JSON; the names
    of such columns stand in the file's metadata as ``json_columns``.
    """
    library("pyarrow.parquet", "pyarrow")
    return _both(results, study, Path(destination), "parquet", _write_parquet)


def _both(results: Path, study: str, folder: Path, suffix: str, write: Callable[..., None]) -> list[Path]:
    names = (f"trials.{suffix}", f"epochs.{suffix}")
    with written_aside(folder) as aside:
        for name, query in zip(names, (queries.export_trials, queries.export_epochs), strict=True):
            write(aside / name, *query(results, study))
        folder.mkdir(parents=True, exist_ok=True)
        return [(aside / name).replace(folder / name) for name in names]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


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
