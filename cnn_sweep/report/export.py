"""Whole studies as files for other programs."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.store import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


def to_csv(results: Path, study: str, folder: Path) -> tuple[Path, Path]:
    """Write ``trials.csv`` and ``epochs.csv`` with full precision.

    Returns:
        The two files.

    Raises:
        EnvironmentFault: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = (folder / "trials.csv", folder / "epochs.csv")
        _write(files[0], *queries.export_trials(results, study))
        _write(files[1], *queries.export_epochs(results, study))
    except OSError as error:
        raise EnvironmentFault(f"cannot write {folder}: {error.strerror}") from error
    return files


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write aside and rename, so that nobody finds half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
