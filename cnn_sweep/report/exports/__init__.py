"""Exports whole studies to the formats of other programs, and imports their libraries only when needed."""

from __future__ import annotations

import errno
import importlib
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.leaderboards.leaderboard import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.store.reader import StoreReader

# Maps the name of a format to its module and function.
FORMS = {
    "csv": ("tables", "to_csv"),
    "spreadsheet": ("tables", "to_spreadsheet"),
    "parquet": ("tables", "to_parquet"),
    "tensorboard": ("tensorboard", "to_tensorboard"),
    "mlflow": ("mlflow", "to_mlflow"),
    "optuna": ("optuna", "to_optuna"),
    "wandb": ("wandb", "to_wandb"),
}


def export(form: str, store: StoreReader, study: str, destination: str) -> list[str]:
    """Write a study.

    Args:
        form: One of ``FORMS``.
        store: The store with the study.
        study: The study's name.
        destination: A folder; or the address of a server for ``mlflow``, or of a storage for ``optuna``.

    Returns:
        Descriptions of what was written and where.

    Raises:
        EnvironmentFault: The library is not installed, or the destination cannot be written.
    """
    module, function = FORMS[form]
    writer: Any = getattr(importlib.import_module(f"cnn_sweep.report.exports.{module}"), function)
    try:
        with store:
            return [str(written) for written in writer(store, study, destination)]
    except OSError as error:
        raise EnvironmentFault(f"cannot write {destination}: {error.strerror or error}") from error


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder on the destination's file system, from which the caller renames complete files.

    An export that fails leaves its destination unchanged: the temporary folder is removed with its content.

    Args:
        folder: The destination, which need not exist; the caller creates it before the first rename.

    Raises:
        OSError: The destination is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, and the export writes a folder", str(folder))
    there = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    with tempfile.TemporaryDirectory(prefix=".cnn-sweep-export-", dir=there) as aside:
        yield Path(aside)


def as_text(value: Any) -> str:
    """Return a hyperparameter's value as text; null and lists become JSON."""
    return json.dumps(value) if value is None else str(plain(value))


def library(name: str, package: str) -> Any:
    """Import a library that only some exports need.

    Raises:
        EnvironmentFault: The library is not installed; the message names the package to install.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise EnvironmentFault(f"this export needs the package {package}: pip install {package} ({error})") from error
