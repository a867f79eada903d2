"""``cancel``: stops a study after its trials have written checkpoints, or cancels one trial for good."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.execution.attempts.cancellation import cancel_study, cancel_trial
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.slurm.commands import SlurmCli


def cancel(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="TRIAL", help="Cancel only this trial, for good.", show_default=False)
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Stop a study once its running trials have written checkpoints, or cancel one trial for good.

    `cnn-sweep resume` continues a stopped study.

    Examples:
      cnn-sweep cancel digits
      cnn-sweep cancel digits 3
    """
    frozen = StudyFolder.open(results, study)
    if trial is not None:
        running = cancel_trial(frozen, trial)
        print(f"trial {trial} {'stops after its running chunk' if running else 'is cancelled'}", file=sys.stderr)
        return
    nothing, jobs = cancel_study(frozen, SlurmCli() if shutil.which("squeue") else None)
    for job in jobs:
        print(f"job {job} is cancelled", file=sys.stderr)
    stopping = (
        f"{study} stops once its running trials have written checkpoints; `cnn-sweep resume {study}` continues it"
    )
    print(stopping if nothing is None else nothing, file=sys.stderr)
