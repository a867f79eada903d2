"""Whole studies in the forms of other programs; each form's library is imported when the form is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path

# Name of a form to its module and function.
FORMS = {
    "csv": ("tables", "to_csv"),
    "parquet": ("tables", "to_parquet"),
    "tensorboard": ("tensorboard", "to_tensorboard"),
    "mlflow": ("mlflow", "to_mlflow"),
    "optuna": ("optuna", "to_optuna"),
    "wandb": ("wandb", "to_wandb"),
}


def export(form: str, results: Path, study: str, destination: str) -> list[str]:
    """Write a study.

    Args:
        form: One of ``FORMS``.
        results: Root of all studies.
        study: The study's name.
        destination: A folder; for ``mlflow`` also the address of a server, for ``optuna`` that of a storage.

    Returns:
        What was written, for people to read.

    Raises:
        EnvironmentFault: The library is not installed, or the destination cannot be written.
    """
    module, function = FORMS[form]
    writer: Any = getattr(importlib.import_module(f"cnn_sweep.report.exports.{module}"), function)
    try:
        return [str(written) for written in writer(results, study, destination)]
    except OSError as error:
        raise EnvironmentFault(f"cannot write {destination}: {error.strerror or error}") from error


def library(name: str, package: str) -> Any:
    """Import a library that only some exports need.

    Raises:
        EnvironmentFault: It is not installed; the message says how to have it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise EnvironmentFault(f"this export needs the package {package}: pip install {package} ({error})") from error
