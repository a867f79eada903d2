"""``cancel``: stops a study after its trials have written checkpoints, or cancels one trial for good."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.execution.attempts.cancellation import cancel_study, cancel_trial
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.remedies import with_remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.execution.attempts.take_over import Unseen


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
        done = cancel_trial(frozen, trial)
        print(f"trial {trial} is {'stopping' if done.is_running else 'cancelled'}", file=sys.stderr)
        _end(study, None, [done.unseen] if done.unseen else [])
    else:
        stopped = cancel_study(frozen, SlurmCli() if shutil.which("squeue") else None)
        for job in stopped.jobs:
            print(f"job {job} is cancelled", file=sys.stderr)
        stopping = (
            f"{study} stops once its running trials have written checkpoints; `cnn-sweep resume {study}` continues it"
        )
        print(stopping if stopped.nothing is None else stopped.nothing, file=sys.stderr)
        _end(study, stopped.trouble, stopped.unseen)


def _end(study: str, trouble: str | None, unseen: Sequence[Unseen]) -> None:
    """Say what this machine could not stop, and end with exit code 1 if it may still run."""
    for one in unseen:
        ended = f"{one.why}; ended in the records, and should the process wake up, it stops"
        waits = f"{one.who} cannot be seen from this machine; it stops when it reads of the cancellation, if it lives"
        print(f"trial {one.attempt.trial}: {ended if one.is_silent else waits}", file=sys.stderr)
    if trouble is not None:
        warn(
            f"its jobs could not be cancelled: {with_remedy(trouble)}. Pools stop by themselves when they read of "
            f"the cancellation, or start; `cnn-sweep cancel {study}` tries again"
        )
    if trouble is not None or any(one.is_silent for one in unseen):
        raise typer.Exit(1)
