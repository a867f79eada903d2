"""``export``: writes a study for other programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.report import exports


class ExportFormat(StrEnum):
    """Format of an export."""

    csv = "csv"
    spreadsheet = "spreadsheet"
    parquet = "parquet"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"
    optuna = "optuna"


def export(
    study: StudyName,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="Folder to write to; for mlflow also a server, for optuna a storage such as sqlite:///study.db.",
            show_default=False,
        ),
    ],
    to: Annotated[ExportFormat, typer.Option("--to", help="Format to write.")],
    results: Results = RESULTS,
) -> None:
    """Export the trials and epochs of a study for other programs.

    Examples:
      cnn-sweep export digits exported --to csv
      cnn-sweep export digits sqlite:///study.db --to optuna
    """
    for written in exports.export(to.value, open_merged(results, study).store, study, destination):
        print(written)
