"""``submit``, and ``resume`` on a cluster: array jobs of pools."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from cnn_sweep.cli.preparing import prepare_shown
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.execution.array_jobs.submission import Submission, plan_submission
from cnn_sweep.execution.freezing.freeze import FrozenStudy, draft, enlarge, freeze
from cnn_sweep.execution.monitoring.jobs import pools_in_queue
from cnn_sweep.execution.monitoring.reconcile import reconcile
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.sweep.spec import Sweep
from cnn_sweep.sweep.states import plural

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def submit(sweep: Path, results: Path, profile: Path, *, extend: bool, dry_run: bool) -> None:
    """Submit a sweep file's study, or print the scripts that would be submitted.

    A study of which nothing could be submitted is not left behind.
    """
    loaded = Sweep.load(sweep)
    drafted = draft(loaded, results, extend=extend)
    submission = _planned(drafted, Profile.load(profile))
    if dry_run:
        print("\n".join(submission.scripts()))
        return
    paths = submission.study.paths
    existed = paths.sweep.is_file()
    prepare_shown(loaded, results)
    try:
        _commit(replace(submission, study=freeze(loaded, results, extend=extend, drafted=drafted)))
    except CnnSweepError:
        if not existed:
            shutil.rmtree(paths.folder, ignore_errors=True)
        raise


def plan(sweep: Path, results: Path, profile: Path) -> None:
    """Say what a submission would ask the cluster for."""
    submission = _planned(draft(Sweep.load(sweep), results), Profile.load(profile))
    settings = submission.settings
    workers = plural(settings.workers, "worker")
    for array in submission.arrays.arrays:
        print(
            f"array of {plural(array.tasks, 'task')}, {array.throttle} at a time: each {workers} of "
            f"{plural(settings.threads, 'thread')}, for {submission.profile.time_limit} min at a time"
        )
    # Of each task submitit keeps two files and two logs; workers have a journal, a claim's owner and a log each.
    tasks = submission.arrays.tasks
    files = 4 * tasks + 3 * tasks * (settings.workers + 1)
    print(f"about {files} files for {plural(submission.trials, 'trial')}, and models")


def resume(study: str, results: Path, profile: Path, more: Mapping[str, float | int]) -> None:
    """Submit as many pools as the profile's width allows beside those that are in the queue."""
    settings, found = Profile.load(profile), enlarge(results, study, more)
    if lost := reconcile(found):
        print(
            f"cnn-sweep: {plural(lost, 'trial')} left by jobs that are over (`cnn-sweep show` says why)",
            file=sys.stderr,
        )
    prepare_shown(found.sweep, results)
    _commit(_planned(found, settings))


def _planned(study: FrozenStudy, profile: Profile) -> Submission:
    slurm = SlurmCli()
    submission = plan_submission(study, profile, slurm.cluster(), busy=pools_in_queue(study.paths, slurm))
    for note in submission.notes:
        print(f"cnn-sweep: {note}", file=sys.stderr)
    return submission


def _commit(submission: Submission) -> None:
    name, trials = submission.study.paths.study, plural(submission.trials, "trial")
    for job in submission.commit():
        print(f"{name} {job.job}")
        print(f"cnn-sweep: array job {job.job}: {plural(job.tasks, 'pool')} for {trials}", file=sys.stderr)
