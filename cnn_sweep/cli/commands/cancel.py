"""``cancel``: stops a study after its trials have written checkpoints, or cancels one trial for good."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.execution.attempts.cancellation import cancel_study, cancel_trial
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.remedies import with_remedy


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
    done = cancel_study(frozen, SlurmCli() if shutil.which("squeue") else None)
    for job in done.jobs:
        print(f"job {job} is cancelled", file=sys.stderr)
    stopping = (
        f"{study} stops once its running trials have written checkpoints; `cnn-sweep resume {study}` continues it"
    )
    print(stopping if done.nothing is None else done.nothing, file=sys.stderr)
    if done.trouble is not None:
        warn(
            f"its jobs could not be cancelled: {with_remedy(done.trouble)}. Pools stop by themselves when they read of "
            f"the cancellation, or start; `cnn-sweep cancel {study}` tries again"
        )
        raise typer.Exit(1)
