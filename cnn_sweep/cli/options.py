"""Arguments and options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer


class TableFormat(StrEnum):
    """How to write a table."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"
    html = "html"


class Per(StrEnum):
    """What a row of a leaderboard stands for."""

    trial = "trial"
    configuration = "configuration"


class ReportFormat(StrEnum):
    """How to write a report."""

    html = "html"
    markdown = "markdown"


class ExportFormat(StrEnum):
    """What to export to."""

    csv = "csv"
    parquet = "parquet"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"
    optuna = "optuna"


Results = Annotated[
    Path, typer.Option("--results", envvar="CNN_SWEEP_RESULTS", help="Root of all studies and of the store.")
]
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.", show_default=False)]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.", show_default=False)]
StudyNames = Annotated[
    list[str], typer.Argument(metavar="STUDY...", help="One study, or several to compare.", show_default=False)
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-n", min=1, help="Worker processes.  [default: one a core]", show_default=False),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads of each worker, the same in all of a study.  [default: 1]",
        show_default=False,
    ),
]
ProfileFile = Annotated[
    Path, typer.Option("--profile", "-p", help="The cluster's settings, such as slurm/cpu.toml.", show_default=False)
]
Notify = Annotated[
    list[str],
    typer.Option(help="Shell command or https address that is told of the study's end.", show_default=False),
]
Extend = Annotated[
    bool, typer.Option("--extend", help="Add the choices or trials that are new in the file to the study.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
RESULTS: Final = Path("results")
