"""``import optuna``: imports the trials of an Optuna study as history for the sampler."""

from __future__ import annotations

from typing import Annotated

import typer

from cnn_sweep.cli.ui.help import register
from cnn_sweep.cli.ui.options import RESULTS, Results, SweepFile
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.execution.study.optuna_import import import_from_optuna
from cnn_sweep.messages import plural
from cnn_sweep.sweep.sweep import Sweep

app = typer.Typer(help="Import trials from other programs as history for the sampler.", no_args_is_help=True)


def import_optuna(
    storage: Annotated[str, typer.Argument(metavar="STORAGE", help="Such as sqlite:///study.db.", show_default=False)],
    sweep: SweepFile,
    study: Annotated[str, typer.Option("--study", help="Name of the study in the storage.", show_default=False)],
    results: Results = RESULTS,
) -> None:
    """Import an Optuna study; the sampler of a later `run` of the sweep file learns from its trials.

    Examples:
      cnn-sweep import optuna sqlite:///study.db sweeps/digits.yaml --study old
    """
    loaded = Sweep.load(sweep)
    imported = import_from_optuna(loaded, results, storage, study)
    print(f"{loaded.study}: learns from {plural(imported.new, 'new trial')} of {study}; {imported.known} known before")
    for reason, count in imported.skipped.items():
        warn(f"{count} skipped: {reason}")


register(app, import_optuna, "optuna")
