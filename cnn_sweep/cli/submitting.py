"""``submit``, and ``resume`` on a cluster: array jobs of pools."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnn_sweep.cli.preparing import prepare_shown
from cnn_sweep.execution.array_jobs.submission import Submission, plan_submission
from cnn_sweep.execution.attempts.candidates import why_nothing_is_left
from cnn_sweep.execution.attempts.liveness import reconcile
from cnn_sweep.execution.study.jobs import pools_in_queue
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import plural
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def submit(sweep: Path, results: Path, profile: Path, *, extend: bool, dry_run: bool) -> None:
    """Submit a sweep file's study, or print the scripts that would be submitted.

    A study of which nothing could be submitted is not left behind.
    """
    loaded = Sweep.load(sweep)
    preview = StudyFolder.preview(loaded, results, extend=extend)
    if (submission := _planned(preview, Profile.load(profile))) is None:
        return
    if dry_run:
        print("\n".join(submission.scripts()))
        return
    prepare_shown(loaded, results)
    _commit(replace(submission, study=StudyFolder.open_or_create(loaded, results, extend=extend, preview=preview)))


def plan(sweep: Path, results: Path, profile: Path) -> dict[str, Any] | None:
    """Return what a submission would ask the cluster for; None where nothing is left to do, which is said.

    Keys: trials; arrays, each with tasks and throttle; workers of a task; threads of a worker; time_limit_min;
    files, about; notes.
    """
    submission = _planned(StudyFolder.preview(Sweep.load(sweep), results), Profile.load(profile))
    if submission is None:
        return None
    settings, arrays = submission.settings, submission.arrays
    return {
        "trials": submission.trials,
        "arrays": [{"tasks": array.tasks, "throttle": array.throttle} for array in arrays.arrays],
        "workers": settings.workers,
        "threads": settings.threads,
        "time_limit_min": submission.profile.time_limit,
        # Of each task submitit keeps two files and two logs; workers have a journal, a claim's owner and a log each.
        "files": 4 * arrays.tasks + 3 * arrays.tasks * (settings.workers + 1),
        "notes": list(submission.notes),
    }


def print_plan(found: Mapping[str, Any]) -> None:
    """Print what :func:`plan` returned."""
    each = f"{plural(found['workers'], 'worker')} of {plural(found['threads'], 'thread')}"
    for array in found["arrays"]:
        print(
            f"array of {plural(array['tasks'], 'task')}, {array['throttle']} at a time: each {each}, "
            f"for {found['time_limit_min']} min at a time"
        )
    print(f"about {found['files']} files for {plural(found['trials'], 'trial')}, and models")


def resume(study: str, results: Path, profile: Path, more: Mapping[str, float | int]) -> None:
    """Submit as many pools as the profile's width allows beside those that are in the queue."""
    settings, found = Profile.load(profile), StudyFolder.open(results, study).extend_search(more)
    if lost := reconcile(found):
        print(
            f"cnn-sweep: {plural(lost, 'trial')} left by jobs that are over (`cnn-sweep show` says why)",
            file=sys.stderr,
        )
    if (submission := _planned(found, settings)) is not None:
        prepare_shown(found.sweep, results)
        _commit(submission)


def _planned(study: StudyFolder, profile: Profile) -> Submission | None:
    """Plan a submission; None, and the reason is said, where nothing is left to do."""
    history = study.history()
    if (reason := why_nothing_is_left(study, history)) is not None:
        print(f"cnn-sweep: {reason}", file=sys.stderr)
        return None
    slurm = SlurmCli()
    submission = plan_submission(study, history, profile, slurm.cluster(), busy=pools_in_queue(study.paths, slurm))
    for note in submission.notes:
        print(f"cnn-sweep: {note}", file=sys.stderr)
    return submission


def _commit(submission: Submission) -> None:
    name, trials = submission.study.paths.study, plural(submission.trials, "trial")
    for job in submission.commit():
        print(f"{name} {job.job}")
        print(f"cnn-sweep: array job {job.job}: {plural(job.tasks, 'pool')} for {trials}", file=sys.stderr)
