"""``cancel``: a study stops after its checkpoints, or one trial is given up."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from cnn_sweep.execution.attempts.cancellation import cancel_study, cancel_trial
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.slurm.commands import SlurmCli

if TYPE_CHECKING:
    from pathlib import Path


def cancel(results: Path, study: str, trial: int | None) -> None:
    """Cancel a study, or one trial of it."""
    frozen = StudyFolder.open(results, study)
    if trial is not None:
        running = cancel_trial(frozen, trial)
        print(f"trial {trial} {'ends at its next chunk' if running else 'is cancelled'}", file=sys.stderr)
        return
    nothing, jobs = cancel_study(frozen, SlurmCli() if shutil.which("squeue") else None)
    for job in jobs:
        print(f"job {job} is cancelled", file=sys.stderr)
    going_on = f"{study} stops after its checkpoints; `cnn-sweep resume {study}` continues it"
    print(going_on if nothing is None else nothing, file=sys.stderr)
