"""``submit``, and ``resume`` on a cluster: array jobs of pools."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cnn_sweep.execution.freeze import FrozenStudy, draft, freeze, open_study
from cnn_sweep.execution.jobs import pools_in_queue
from cnn_sweep.execution.profile import Profile
from cnn_sweep.execution.slurm_cli import SlurmCli
from cnn_sweep.execution.submission import plan_submission
from cnn_sweep.sweep.spec import Sweep

if TYPE_CHECKING:
    from pathlib import Path


def submit(sweep: Path, results: Path, profile: Path, *, extend: bool, dry_run: bool) -> None:
    """Submit a sweep file's study, or print the scripts that would be submitted."""
    loaded = Sweep.load(sweep)
    settings = Profile.load(profile)
    study = draft(loaded, results) if dry_run else freeze(loaded, results, extend=extend)
    _submit(study, settings, dry_run=dry_run)


def resume(study: str, results: Path, profile: Path) -> None:
    """Submit as many pools as the profile's width allows beside those that are in the queue."""
    settings = Profile.load(profile)
    _submit(open_study(results, study), settings, dry_run=False)


def _submit(study: FrozenStudy, profile: Profile, *, dry_run: bool) -> None:
    slurm = SlurmCli()
    submission = plan_submission(study, profile, slurm.cluster(), busy=pools_in_queue(study.paths, slurm))
    for note in submission.arrays.notes:
        print(f"cnn-sweep: {note}", file=sys.stderr)
    if dry_run:
        print("\n".join(submission.scripts()))
        return
    for job in submission.commit():
        print(f"{study.paths.study} {job.job}")
        print(f"cnn-sweep: array job {job.job}: {job.tasks} pools for {submission.trials} trials", file=sys.stderr)
