"""Verbs about the search itself: ``importance``, ``import optuna``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cnn_sweep.cli.options import RESULTS, Results, StudyName, SweepFile

importing = typer.Typer(
    help="Bring in what other programs found out, as history for the sampler.", no_args_is_help=True
)


class Format(StrEnum):
    """How to write what mattered."""

    table = "table"
    json = "json"
    csv = "csv"


def importance(
    study: StudyName,
    output: Annotated[Format, typer.Option("--format", help="csv writes the importances alone.")] = Format.table,
    results: Results = RESULTS,
) -> None:
    """Show which hyperparameters mattered, the effect of each value, and which pairs interact."""
    from cnn_sweep.cli import importances

    importances.importance(results, study, output.value)


@importing.command("optuna")
def import_optuna(
    storage: Annotated[str, typer.Argument(metavar="STORAGE", help="Such as sqlite:///study.db.", show_default=False)],
    sweep: SweepFile,
    study: Annotated[str, typer.Option("--study", help="The study's name in the storage.", show_default=False)],
    results: Results = RESULTS,
) -> None:
    """Bring in a study of Optuna's: `run` of the sweep file then starts from what it knows."""
    from cnn_sweep.cli import importances

    importances.import_optuna(results, sweep, storage, study)
