"""``resume``: continues an unfinished study on this machine or on the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.commands.run import LocalOptions, train
from cnn_sweep.cli.ui.image_preparation import prepare_images
from cnn_sweep.cli.ui.options import RESULTS, Notify, Results, StudyName, Threads, Trust, Workers, profile_option
from cnn_sweep.cli.ui.sweeps import load_profile
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import InputError
from cnn_sweep.execution.attempts.liveness import reconcile
from cnn_sweep.execution.attempts.take_over import take_over
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.threads import threads_of
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.trust import check_study
from cnn_sweep.messages import plural

if TYPE_CHECKING:
    from collections.abc import Mapping


def resume(
    study: StudyName,
    profile: Annotated[Path | None, profile_option("Continue on the cluster with this profile.")] = None,
    workers: Workers = None,
    threads: Threads = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="New total number of configurations.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="New total number of epochs.", show_default=False)] = None,
    hours: Annotated[
        float | None, typer.Option(metavar="HOURS", help="New total of hours.", show_default=False)
    ] = None,
    gpu_hours: Annotated[
        float | None, typer.Option(metavar="HOURS", help="New total of GPU hours.", show_default=False)
    ] = None,
    notify: Notify = [],  # noqa: B006 - typer copies it
    from_silent: Annotated[
        bool,
        typer.Option("--take-over", help="Also continue trials of silent processes that cannot be seen from here."),
    ] = False,
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Continue a study, each unfinished trial from its last checkpoint. Options can enlarge its budget.

    The study may be running: this machine or the new jobs then join it. A process in another container or on another
    machine cannot be seen from here. If you know that it is gone, --take-over continues its trials, once it has been
    silent for three minutes.

    Examples:
      cnn-sweep resume digits --trials 100
      cnn-sweep resume digits --profile slurm/cpu.toml
      cnn-sweep resume digits --take-over
    """
    check_study(StudyPaths(results, study))
    limits = {"trials": trials, "epochs": epochs, "hours": hours, "gpu_hours": gpu_hours}
    larger = {name: value for name, value in limits.items() if value is not None}
    if profile is None:
        _resume_here(study, results, LocalOptions(workers, threads, notify, from_silent), larger)
    elif workers or threads or notify:
        raise InputError(
            "--workers, --threads and --notify apply to this machine; on a cluster, set them in the profile"
        )
    else:
        resume_on_cluster(study, results, profile, larger, from_silent=from_silent)


def _resume_here(study: str, results: Path, options: LocalOptions, larger: Mapping[str, float | int]) -> None:
    found = StudyFolder.open(results, study)
    threads_of(found.paths, found.sweep, options.threads)
    if larger:
        found = found.extend_search(larger)
    prepare_images(found.sweep, results)
    train(found, options)


def resume_on_cluster(
    study: str, results: Path, profile: Path, larger: Mapping[str, float | int], *, from_silent: bool
) -> None:
    """Submit as many pools as the profile allows in addition to those in the queue.

    Raises:
        QueueFull: There are as many in the queue already.
    """
    # Training on this machine does not need the code that submits.
    from cnn_sweep.cli.commands.submit import (
        commit,
        plan_or_explain,
        settle,
        tell_who_takes_new_trials,
        warn_of_silent,
    )
    from cnn_sweep.execution.array_jobs.submission import QueueFull

    settings, before = load_profile(profile, results), StudyFolder.open(results, study)
    found = before.extend_search(larger)
    settle(found)
    if from_silent:
        take_over(found, warn)
    is_held = not from_silent and warn_of_silent(found)
    if lost := reconcile(found):
        warn(f"{plural(lost, 'trial')} left unfinished by jobs that have ended (`cnn-sweep show` says why)")
    try:
        submission = plan_or_explain(found, settings)
    except QueueFull as full:
        if len(found.revisions) == len(before.revisions):
            raise
        tell_who_takes_new_trials(found, full)
        return
    if submission is not None:
        prepare_images(found.sweep, results)
        commit(submission)
    if is_held:
        raise typer.Exit(1)
