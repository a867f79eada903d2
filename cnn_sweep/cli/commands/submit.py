"""``submit``: submits a sweep to Slurm as array jobs of worker pools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.image_preparation import prepare_images
from cnn_sweep.cli.ui.options import RESULTS, Extend, Results, Set, SweepFile, Trust
from cnn_sweep.cli.ui.sweeps import load_profile, load_sweep
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.execution.array_jobs.sbatch_calls import settle_submissions
from cnn_sweep.execution.array_jobs.submission import QueueFull, Submission, plan_submission
from cnn_sweep.execution.attempts.candidates import left_to_do, why_nothing_is_left
from cnn_sweep.execution.attempts.take_over import silent_attempts, unseen_in_words
from cnn_sweep.execution.study.earlier_studies import with_learned
from cnn_sweep.execution.study.jobs import count_pools, jobs_in_queue
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.sweep_files import restore_sweep_files
from cnn_sweep.journal.trust import check_study
from cnn_sweep.messages import plural
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.remedies import reachable_cluster

if TYPE_CHECKING:
    from cnn_sweep.execution.array_jobs.slurm import Submitted
    from cnn_sweep.execution.study.jobs import JobState
    from cnn_sweep.slurm.profile import Profile


def submit(
    sweep: SweepFile,
    profile: Annotated[
        Path,
        typer.Option(
            "--profile",
            "-p",
            metavar="PROFILE.toml",
            help="Settings of the cluster, such as slurm/cpu.toml.",
            show_default=False,
        ),
    ],
    extend: Extend = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch scripts and submit nothing.")] = False,
    changes: Set = [],  # noqa: B006 - typer copies it
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Run a sweep on a Slurm cluster: submit array jobs and return at once.

    Examples:
      cnn-sweep submit sweeps/digits.yaml --profile slurm/cpu.toml
      cnn-sweep submit sweeps/digits.yaml --profile slurm/cpu.toml --dry-run
    """
    loaded = load_sweep(sweep, changes)
    check_study(StudyPaths(results, loaded.study))
    loaded = with_learned(loaded, results)
    if not dry_run:
        restore_sweep_files(StudyPaths(results, loaded.study), loaded)
    preview = StudyFolder.preview(loaded, results, extend=extend)
    if not dry_run:
        settle(preview)
    is_held = warn_of_silent(preview)
    try:
        submission = plan_or_explain(preview, load_profile(profile, results))
    except QueueFull as full:
        if not preview.is_new_revision:
            raise
        if not dry_run:
            StudyFolder.open_or_create(loaded, results, extend=True)
        tell_who_takes_new_trials(preview, full)
        return
    if submission is None:
        return
    if dry_run:
        print("\n".join(submission.scripts()))
        return
    prepare_images(loaded, results)
    # The study is written last, so that a failed submission leaves none behind.
    commit(replace(submission, study=StudyFolder.open_or_create(loaded, results, extend=extend, preview=preview)))
    if is_held:
        raise typer.Exit(1)


def settle(study: StudyFolder) -> None:
    """Find out what became of earlier submissions that were interrupted, and say it."""
    for note in settle_submissions(study):
        warn(note)


def warn_of_silent(study: StudyFolder) -> bool:
    """Say which trials no job will train, because silent processes that cannot be seen hold them; return if there are.

    Raises:
        typer.Exit: There are no other trials.
    """
    silent = silent_attempts(study)
    for line in unseen_in_words(study.name, silent):
        warn(line)
    if silent and {one.attempt.trial for one in silent} >= {one.number for one in left_to_do(study, study.history())}:
        warn("no other trial is left, so nothing is submitted")
        raise typer.Exit(1)
    return bool(silent)


def plan_or_explain(study: StudyFolder, profile: Profile) -> Submission | None:
    """Plan a submission; if no trials are left, print the reason and return None."""
    history = study.history()
    if (reason := why_nothing_is_left(study, history)) is not None:
        warn(reason)
        return None
    slurm = SlurmCli()
    jobs = jobs_in_queue(study.paths, slurm)
    for job in jobs:
        _tell_what_is_no_pool(job)
    submission = plan_submission(study, history, profile, reachable_cluster(slurm), busy=count_pools(jobs))
    for note in submission.notes:
        warn(note)
    return submission


def tell_who_takes_new_trials(study: StudyFolder, full: QueueFull) -> None:
    """Say that an extended study needs no more pools than it has."""
    trials = plural(len(study.plan.trials), "trial")
    again = f"`cnn-sweep resume {full.study} --profile {full.profile}`"
    warn(
        f"{full.study}: {trials} with the new ones; nothing to submit, since it has {full.why}: they train the new "
        f"trials, too. Should they end before that, {again} submits more"
    )


def _tell_what_is_no_pool(job: JobState) -> None:
    """Say which elements of a job in the queue are not counted, and what to do about those that wait in vain."""
    if job.ending:
        warn(f"job {job.job}: {plural(job.ending, 'pool')} still ending, not counted")
    if job.stuck:
        warn(f"job {job.job}: {plural(job.stuck, 'pool')} will not start, not counted")
    for cure in job.cures:
        warn(f"job {job.job}: {cure}")


def commit(submission: Submission) -> None:
    """Submit the planned jobs and print their numbers."""
    name, trials = submission.study.paths.study, plural(submission.trials, "trial")

    def tell(job: Submitted) -> None:
        print(f"{name} {job.job}", flush=True)
        warn(f"array job {job.job}: {plural(job.tasks, 'pool')} for {trials}")

    submission.commit(tell)
